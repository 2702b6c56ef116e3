"""``hf-datamap prompts``: prompts with verifiable constraints."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli._job import parse_prices
from hf_datamap.cli.options import OutputPath

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.generate.base_prompts import Embed
    from hf_datamap.generate.model_writer import Writer

_EXAMPLES = """\b
Examples:
  hf-datamap prompts --n 48000 --k 4,5,6 --seed 1 --offline --out prompts.parquet
  hf-datamap prompts --n 300 --k 4 --model qwen --base-url http://localhost:8000/v1 --out prompts.parquet
  hf-datamap prompts --n 300 --k 4 --seeds my_instructions.jsonl --offline --witness --out prompts.jsonl
"""


@click.command(epilog=_EXAMPLES)
@click.option("--n", type=click.IntRange(min=1), default=48_000, show_default=True, help="How many prompts.")
@click.option(
    "--k", default="4,5,6", show_default=True, help="Numbers of constraints, an equal share of prompts for each."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same prompts.")
@click.option("--seeds", "source", help="Seed prompts: Hub id, folder or file. Default: bundled IFEval requests.")
@click.option("--split", help="Split of --seeds.")
@click.option(
    "--bases", type=click.IntRange(min=1), help="How many different base prompts (default: a quarter of --n)."
)
@click.option("--similarity", type=float, default=0.75, show_default=True, help="Base prompts this alike count as one.")
@click.option(
    "--embed", help="Compare base prompts by meaning too: a model2vec folder, or an embedding model of --base-url."
)
@click.option("--offline", is_flag=True, help="No endpoint: recombine seeds, write from templates.")
@click.option("--model", help="Let a model write base prompts and final wording; checked to keep every constraint.")
@click.option("--base-url", help="Endpoint of --model, for example http://localhost:8000/v1.")
@click.option(
    "--tries", type=click.IntRange(min=1), default=3, show_default=True, help="Wordings asked for per prompt."
)
@click.option("--max-in-flight", type=click.IntRange(min=1), default=64, show_default=True, help="Concurrent requests.")
@click.option("--budget", help="For --model: stop at '500 requests', '2M tokens' or '$5'; the rest is from templates.")
@click.option("--price", metavar="IN,OUT", help="Dollars per million tokens sent and received.")
@click.option("--witness", is_flag=True, help="Keep a response that meets all constraints, in a column.")
@click.option("--out", type=OutputPath(folder=False), required=True, help=".parquet or .jsonl file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(*, out: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - passed on by name
    """Make prompts with K verifiable constraints each; every one can be satisfied.

    Without --model nothing is sent anywhere.
    """
    from hf_datamap.data.load import load_source
    from hf_datamap.generate import prompts
    from hf_datamap.generate.constraint_sets import balance_of

    _check_output(out)
    options["embed"] = _embedder(options)
    writer = _writer(options)
    source, split, k = options.pop("source"), options.pop("split"), parse_sizes(options.pop("k"))
    seeds = load_source(source, split) if source else None
    ds = prompts(options.pop("n"), k=k, seeds=seeds, writer=writer, **options)
    write_rows(ds, out)
    sizes = {str(size): count for size, count in sorted(Counter(ds["k"]).items())}
    bases, writers = len(set(ds["base"])), dict(Counter(ds["writer"]).most_common())
    balance = balance_of(ds["instruction_id_list"])
    if as_json:
        constraints = dict(Counter(kind for ids in ds["instruction_id_list"] for kind in ids).most_common())
        summary: dict[str, Any] = {"out": str(out), "prompts": len(ds), "k": sizes, "bases": bases, "writers": writers}
        summary["balance"] = {**asdict(balance), "ratio": balance.ratio}
        summary |= {"constraints": constraints, "usage": writer.usage.summary() if writer else None}
        click.echo(json.dumps(summary, indent=2))
        return
    shares = ", ".join(f"k={size}: {count:,}" for size, count in sizes.items())
    click.echo(f"{len(ds):,} prompts ({shares}), {bases:,} base prompts -> {out}")
    click.echo(f"balance       {balance}")
    if writer:
        by_writer = ", ".join(f"{name}: {count:,}" for name, count in writers.items())
        usage = writer.usage
        click.echo(f"written by    {by_writer} ({usage.requests:,} requests, {usage.from_store:,} from the store)")
        if writer.usage.stopped:
            click.echo(f"stopped early {writer.usage.stopped}; raise it and run the same command to go on")
    click.echo(f"next          hf-datamap sample {out} --method rs --model MODEL --base-url URL --out samples")


def _embedder(options: dict[str, Any]) -> Embed | None:
    from hf_datamap.scorers.embedders import ServedEmbedder

    name = options["embed"]
    if not name or Path(name).is_dir():
        return str(name) if name else None
    if options["offline"]:
        raise click.UsageError(f"--embed: there is no folder {name}, and --offline asks no endpoint")
    return ServedEmbedder(name, base_url=options["base_url"])


def _writer(options: dict[str, Any]) -> Writer | None:
    """The model that writes, if one is named; its options are taken out of ``options``."""
    from hf_datamap.engine.budget import Budget
    from hf_datamap.generate.model_writer import Writer
    from hf_datamap.generate.sampler import Sampler

    model, offline = options.pop("model"), options.pop("offline")
    base_url, in_flight = options.pop("base_url"), options.pop("max_in_flight")
    tries, budget, prices = options.pop("tries"), options.pop("budget"), parse_prices(options.pop("price"))
    if model and offline:
        raise click.UsageError("--offline and --model exclude each other")
    if not model:
        return None
    limits = Budget.parse(budget, prices) if budget else Budget(prices=prices)
    sampler = Sampler(model, base_url=base_url, max_in_flight=in_flight, seed=options["seed"])
    return Writer(sampler, tries, limits, progress=True)


def parse_sizes(text: str) -> list[int]:
    """Read ``4,5,6``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--k takes whole numbers joined by commas: 4,5,6 - not {text!r}") from None


def _check_output(out: Path) -> None:
    if out.suffix not in (".parquet", ".jsonl"):
        raise click.UsageError(f"--out is a .parquet or .jsonl file, not {str(out)!r}")
    if not out.absolute().parent.is_dir():
        raise click.UsageError(f"--out: there is no folder {out.absolute().parent}")


def write_rows(ds: Dataset, out: Path) -> None:
    """Write a file completely or not at all."""
    part = out.with_name(f".{out.name}.part")
    if out.suffix == ".parquet":
        ds.to_parquet(part)
    else:
        ds.to_json(part, force_ascii=False)
    part.replace(out)
