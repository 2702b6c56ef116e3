"""``hf-datamap calibrate``: scorers against human labels, side by side."""

from __future__ import annotations

import json
import sys

import click

_EXAMPLES = """\b
Examples:
  hf-datamap calibrate judge:gpt-4o-mini judge:qwen3-8b --on labelled.jsonl
  hf-datamap calibrate reward:Skywork/Skywork-Reward-V2-Qwen3-0.6B --on labelled.jsonl.gz --by subset --json
"""


@click.command(epilog=_EXAMPLES)
@click.argument("scorers", nargs=-1, required=True, metavar="SCORER...")
@click.option("--on", "source", required=True, help="Labelled data: a file, a folder or a Hub id.")
@click.option("--split", help="Split to read.")
@click.option("--config", help="Configuration (subset) of the dataset.")
@click.option("--revision", help="Branch, tag or commit on the Hub.")
@click.option("--layout", help="Where prompt, responses and labels are; detected by default.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first rows.")
@click.option("--by", metavar="COLUMN", help="Accuracy for each value of a column, too.")
@click.option("--swap/--no-swap", default=True, show_default=True, help="Whether to try responses the other way round.")
@click.option("--base-url", help="Endpoint of the judges, for example http://localhost:8000/v1.")
@click.option("--max-in-flight", type=click.IntRange(min=1), help="Concurrent requests (default 64).")
@click.option("--samples", type=click.IntRange(min=1), help="Judgements per response (default 1).")
@click.option("--rubric", help="What judges judge by: a name (default helpfulness), a file, or the text itself.")
@click.option("--listwise", is_flag=True, help="Judges see all responses to a prompt at once.")
@click.option(
    "-o", "--option", multiple=True, metavar="NAME=VALUE", help="Another option of the scorers, as in Python."
)
@click.option("--budget", help="What each scorer may spend: '500 requests', '2M tokens' or '$5'.")
@click.option("--price", metavar="IN,OUT", help="Dollars per million tokens sent and received.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(
    scorers: tuple[str, ...],
    *,
    source: str,
    split: str | None,
    config: str | None,
    revision: str | None,
    layout: str | None,
    limit: int | None,
    by: str | None,
    swap: bool,
    base_url: str | None,
    max_in_flight: int | None,
    samples: int | None,
    rubric: str | None,
    listwise: bool,
    option: tuple[str, ...],
    budget: str | None,
    price: str | None,
    as_json: bool,
) -> None:
    """Measure each SCORER (as --scorer spells them) against the human labels of a data set.

    Pairwise accuracy with its interval, ties, coverage, how scores follow length, and whether preferences stay when the
    responses are shown the other way round.
    """
    from hf_datamap.cli._job import parse_prices, scorer_options
    from hf_datamap.data import choose_layout
    from hf_datamap.data.load import load_source
    from hf_datamap.engine.budget import Budget, Usage
    from hf_datamap.scorers.registry import parse_scorer
    from hf_datamap.scoring.calibrate import calibration_report

    options = {"base_url": base_url, "max_in_flight": max_in_flight, "samples": samples, "rubric": rubric}
    options["mode"] = "listwise" if listwise else None
    given = {name: value for name, value in options.items() if value is not None}
    prices = parse_prices(price)
    limits = Budget.parse(budget, prices) if budget else Budget(prices=prices)
    named = {name: parse_scorer(name, scorer_options(option), **given) for name in scorers}
    ds = load_source(source, split, config, revision)
    if limit:
        ds = ds.select(range(min(limit, len(ds))))

    def show(usage: Usage) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{usage.rows:,} rows, {usage.requests:,} requests ", nl=False, err=True)

    chosen = choose_layout(ds, layout) if layout else None
    report = calibration_report(named, ds, layout=chosen, by=by, swap=swap, budget=limits, progress=show)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_markdown())
