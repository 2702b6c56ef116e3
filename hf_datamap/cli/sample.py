"""``hf-datamap sample``: responses of a model by rejection sampling or tree search, mapped, with pairs and yields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli._job import parse_prices
from hf_datamap.cli.options import out_folder
from hf_datamap.cli.prompts import write_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.generate.rejection import Sampled

JOB_FILE = "sampling.json"
_EXAMPLES = """\b
Examples:
  hf-datamap sample prompts.parquet --method rs --model qwen --base-url http://localhost:8000/v1 -n 32 --out samples
  hf-datamap sample prompts.parquet --method rs --model qwen --contrast high --contrast 4,3 --out samples
  hf-datamap sample prompts.parquet --method mcts --model qwen --base-url http://localhost:8000/v1 --out trees

\b
DIR gets the mapped dataset (as `hf-datamap map` writes it), sampling.json, yields.json, and for each contrast
pairs-CONTRAST.parquet. With mcts also nodes.parquet, and the pairs are siblings: they share a prefix and say where they
diverge.
An interrupted run loses nothing that was paid for: the same command goes on where it ended.
"""


@click.command(epilog=_EXAMPLES)
@click.argument("prompts")
@click.option("--split", help="Split of PROMPTS.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first prompts.")
@click.option(
    "--method",
    type=click.Choice(["rs", "mcts"]),
    default="rs",
    show_default=True,
    help="rs: rejection sampling; mcts: tree search, for endpoints that continue a given prefix.",
)
@click.option("--model", required=True, help="Model name, as the endpoint spells it.")
@click.option("--base-url", help="Endpoint, for example http://localhost:8000/v1 (default: OPENAI_BASE_URL).")
@click.option(
    "-n", "--samples", "n", type=click.IntRange(min=1), default=32, show_default=True, help="Responses per prompt."
)
@click.option("--iterations", type=click.IntRange(min=1), default=8, show_default=True, help="mcts: per prompt.")
@click.option(
    "--branching", type=click.IntRange(min=1), default=4, show_default=True, help="mcts: answers an iteration."
)
@click.option("--step", default="sentence", show_default=True, help="mcts: sentence, line or a number of words.")
@click.option("--max-depth", type=click.IntRange(min=1), default=16, show_default=True, help="mcts: steps of a tree.")
@click.option("--c-puct", type=float, default=0.2, show_default=True, help="mcts: weight of exploring.")
@click.option(
    "--self-weight", type=float, default=0.2, show_default=True, help="mcts: share of the model's own opinion."
)
@click.option(
    "--tokens-per-prompt", type=click.IntRange(min=1), help="mcts: no iteration begins beyond so many tokens."
)
@click.option("--template", help="mcts: a chat as one text with {prompt}, for endpoints with /completions only.")
@click.option("--temperature", type=float, default=1.0, show_default=True)
@click.option("--top-p", type=float, default=1.0, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), default=1024, show_default=True, help="Of a response.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other samples.")
@click.option("--scorer", default="constraints", show_default=True, help="As in `hf-datamap map`.")
@click.option("--scorer-base-url", help="Endpoint of the scorer, if it is a model.")
@click.option(
    "--contrast", "contrasts", multiple=True, help="high, low, mixed or C,R; several times. Default: high, low, mixed."
)
@click.option(
    "--per-prompt", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs of a prompt at most."
)
@click.option("--max-in-flight", type=click.IntRange(min=1), default=64, show_default=True, help="Concurrent requests.")
@click.option(
    "--budget", help="Stop at '500 requests', '2M tokens' or '$5' (several with commas); what is done is kept."
)
@click.option("--price", metavar="IN,OUT", help="Dollars per million tokens sent and received.")
@click.option("--overwrite", is_flag=True, help="Replace what another job left in --out.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run (what every run does).", expose_value=False)
@out_folder()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(
    prompts: str,
    *,
    method: str,
    split: str | None,
    limit: int | None,
    scorer: str,
    scorer_base_url: str | None,
    contrasts: tuple[str, ...],
    per_prompt: int,
    budget: str | None,
    price: str | None,
    overwrite: bool,
    out: Path,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Sample responses to PROMPTS (Hub id, folder or file), score and map them, and build pairs."""
    from hf_datamap.data.load import load_source
    from hf_datamap.engine.budget import Budget
    from hf_datamap.scorers.registry import parse_scorer

    parsed_contrasts = [parse_contrast(text) for text in contrasts or ("high", "low", "mixed")]
    prices = parse_prices(price)
    limits = Budget.parse(budget, prices) if budget else Budget(prices=prices)
    verifier = parse_scorer(scorer, base_url=scorer_base_url)
    job = {"prompts": prompts, "method": method, "model": options["model"]}
    check_out(out, job, overwrite=overwrite)
    ds = load_source(prompts, split)
    ds = ds.select(range(min(limit, len(ds)))) if limit else ds
    sampled = _sample(method, ds, options, scorer=verifier, budget=limits)
    pair_counts = write(sampled, out, parsed_contrasts, per_prompt, job)
    report(sampled, out, pair_counts, as_json=as_json)


def check_out(out: Path, job: dict[str, str], *, overwrite: bool) -> None:
    """Make sure, before anything is spent, that a folder is free or holds the same job (with other settings or not)."""
    from hf_datamap.publish.folder import check_folder

    check_folder(out, {})
    if overwrite or not out.exists() or not any(out.iterdir()):
        return
    earlier_job = json.loads((out / JOB_FILE).read_text(encoding="utf-8")) if (out / JOB_FILE).is_file() else {}
    for name, value in job.items():
        if (earlier := earlier_job.get(name)) != value:
            raise click.UsageError(
                f"--out {out} holds another job: its {name} is {earlier}, not {value}. Name another folder, or pass "
                "--overwrite."
            )


_ONLY_RS = ("n",)
_ONLY_MCTS = (
    "iterations", "branching", "step", "max_depth", "c_puct", "self_weight", "tokens_per_prompt", "template",
)  # fmt: skip


def _sample(method: str, ds: Dataset, options: dict[str, Any], **common: Any) -> Sampled:  # noqa: ANN401
    from hf_datamap.generate import rejection_sampling, tree_search

    if method == "rs":
        rs_options = {name: value for name, value in options.items() if name not in _ONLY_MCTS}
        return rejection_sampling(ds, progress=True, **rs_options, **common)
    step = options["step"]
    mcts_options = {name: value for name, value in options.items() if name not in _ONLY_RS}
    mcts_options["step"] = int(step) if step.isdecimal() else step
    return tree_search(ds, progress=True, **mcts_options, **common)


def parse_contrast(text: str) -> Any:  # noqa: ANN401 - a contrast as to_pairs takes it
    """Read ``high``, ``low``, ``mixed`` or ``4,2``."""
    if text in {"high", "low", "mixed"}:
        return text
    try:
        c, r = (int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--contrast is high, low, mixed or two counts like 4,2 - not {text!r}") from None
    return c, r


def write(sampled: Sampled, out: Path, contrasts: list[Any], per_prompt: int, job: dict[str, str]) -> dict[str, int]:
    """Write the folder; return how many pairs each contrast gave."""
    from hf_datamap.errors import PairError
    from hf_datamap.generate.pair_counts import as_json
    from hf_datamap.generate.tree_search import Searched
    from hf_datamap.publish.folder import write_folder

    write_folder(sampled.dataset, sampled.data_map, out, title=f"{job['model']} on {job['prompts']}")
    record = {**job, "settings": dict(sampled.settings), "usage": sampled.usage.summary()}
    (out / JOB_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
    (out / "yields.json").write_text(json.dumps(as_json(sampled.yields), indent=1), encoding="utf-8")
    if isinstance(sampled, Searched):
        write_rows(sampled.nodes, out / "nodes.parquet")
    counts: dict[str, int] = {}
    for contrast in contrasts:
        name = contrast if isinstance(contrast, str) else f"{contrast[0]}-{contrast[1]}"
        file = out / f"pairs-{name}.parquet"
        file.unlink(missing_ok=True)
        try:
            pairs = sampled.pairs(contrast, per_prompt=per_prompt)
        except PairError as error:
            click.echo(f"no pairs of contrast {name}: {error}", err=True)
            counts[name] = 0
            continue
        write_rows(pairs, file)
        counts[name] = len(pairs)
    return counts


def report(sampled: Sampled, out: Path, counts: dict[str, int], *, as_json: bool) -> None:
    """Print what was done."""
    from hf_datamap.generate.pair_counts import as_json as yields_as_json
    from hf_datamap.generate.pair_counts import hard_and_soft, met_counts, table

    usage = sampled.usage.summary()
    shares = hard_and_soft(met_counts(sampled.dataset))
    if as_json:
        summary = {
            "out": str(out),
            "prompts": len(sampled.dataset),
            "responses": sum(text is not None for row in sampled.dataset["responses"] for text in row),
            "pairs": counts,
            "scores": shares,
            "yields": yields_as_json(sampled.yields),
            "usage": usage,
            "settings": dict(sampled.settings),
        }
        click.echo(json.dumps(summary, indent=2))
        return
    click.echo(str(sampled.data_map))
    for k, share in shares.items():
        click.echo(
            f"k={k}: all met {share['hard']:.1%}, share met {share['soft']:.1%} of {share['responses']:,} responses"
        )
    if sampled.yields:
        click.echo("\n" + table(sampled.yields))
    failures = "".join(f"; no response - {reason}: {count:,}" for reason, count in usage["failed"].items())
    click.echo(
        f"\n  {usage['requests']:,} requests, {usage['from_store']:,} answers from the store, "
        f"{usage['output_tokens']:,} tokens written{failures}"
    )
    if usage["stopped"]:
        click.echo(f"  stopped early: {usage['stopped']}; raise it and run the same command to go on")
    for name, count in counts.items():
        click.echo(f"pairs {name:8s}{count:8,}  {out / f'pairs-{name}.parquet'}")
