"""What ``map`` and ``estimate`` share: the options that name a source and a scorer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.data import Layout
    from hf_datamap.engine.budget import Budget, Prices
    from hf_datamap.scorers.base import Scorer

Function = TypeVar("Function", bound=Callable[..., Any])


def _list_scorers(context: click.Context, _: click.Parameter, value: str) -> str:
    """``--scorer help``, whatever else is missing."""
    if value == "help":
        from hf_datamap.scorers.registry import SPELLINGS

        click.echo(f"auto                 what fits the data\n{SPELLINGS}")
        context.exit()
    return value


_OPTIONS = (
    click.argument("source"),
    click.option("--split", help="Split to read."),
    click.option("--config", help="Configuration (subset) of the dataset."),
    click.option("--revision", help="Branch, tag or commit on the Hub."),
    click.option("--layout", help="Where prompt and responses are: a known layout, paths, JSON or a JSON file."),
    click.option("--group", is_flag=True, help="Join rows that hold one response each into one row per prompt first."),
    click.option("--limit", type=click.IntRange(min=1), help="Only the first rows."),
    click.option(
        "--scorer",
        default="auto",
        show_default=True,
        is_eager=True,
        callback=_list_scorers,
        help="auto, judge:MODEL, constraints[:loose], columns:PATH and others; --scorer help lists them.",
    ),
    click.option("--base-url", help="Endpoint of the judge (or of a writer of references): http://localhost:8000/v1."),
    click.option("--max-in-flight", type=click.IntRange(min=1), help="Concurrent requests (default 64)."),
    click.option("--samples", type=click.IntRange(min=1), help="Judgements per response (default 1)."),
    click.option("--rubric", help="What a judge judges by: a name (default helpfulness), a file, or the text itself."),
    click.option("--listwise", is_flag=True, help="A judge sees all responses to a prompt at once: fewer tokens."),
    click.option("--rationales", is_flag=True, help="A judge gives reasons, in the column datamap_rationales."),
    click.option(
        "-o",
        "--option",
        multiple=True,
        metavar="NAME=VALUE",
        help="Another option of the scorer, as in Python: -o max_tokens=4096 -o orders=2. Repeat as needed.",
    ),
    click.option("--price", "price", metavar="IN,OUT", help="Dollars per million tokens sent and received."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout."),
)


def job_options(function: Function) -> Function:
    """Add the options of a scoring job to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True)
class ScoringJob:
    """A dataset with its layout and its scorer, opened from the command line."""

    ds: Dataset
    layout: Layout
    scorer: Scorer
    prices: Prices | None
    source: dict[str, Any]

    @classmethod
    def open(cls, source: str, **given: Any) -> ScoringJob:  # noqa: ANN401 - the options above
        """Open the source, find its layout, make the scorer, and say on stderr which. Options not given are not set."""
        options: defaultdict[str, Any] = defaultdict(lambda: None, given)
        check_options(options)
        return cls.load(source, options, named_scorer(options))

    @classmethod
    def load(cls, source: str, given: Mapping[str, Any], scorer: Scorer | None) -> ScoringJob:
        """The same with a scorer that is made already (see `named_scorer`), before anything is read."""
        from hf_datamap.data.group_rows import group_rows
        from hf_datamap.data.load import load_source

        options: defaultdict[str, Any] = defaultdict(lambda: None, given)
        ds = load_source(source, options["split"], options["config"], options["revision"])
        if options["group"]:
            ds = group_rows(ds)
        if options["limit"]:
            ds = ds.select(range(min(options["limit"], len(ds))))
        return cls.of(ds, source, options, scorer)

    @classmethod
    def of(cls, ds: Dataset, source: str, given: Mapping[str, Any], scorer: Scorer | None) -> ScoringJob:
        """The same for a dataset, or the first rows of one, that is open already.

        Args:
            ds: the dataset.
            source: its name.
            given: the options above.
            scorer: the one that `named_scorer` made; None for what fits the data.
        """
        from hf_datamap.data.dataset import find_layout

        options: defaultdict[str, Any] = defaultdict(lambda: None, given)
        # What fits the data may take images (scores that ship with it do); it is looked for before it is known.
        layout = find_layout(ds, options["layout"] or None, images=scorer is None or scorer.takes_images)
        click.echo(f"layout {layout.name}: {layout.why}", err=True)
        names = ("config", "split", "revision", "group", "limit")
        record = {"id": source, **{name: options[name] for name in names if options[name]}}
        scorer = scorer or _fitting_scorer(layout, options)
        if layout.multimodal and not scorer.takes_images:
            find_layout(ds, options["layout"] or None)  # says what to do about the images
        return cls(ds, layout, scorer, parse_prices(options["price"]), record)

    def budget(self, text: str | None, rate: float | None = None) -> Budget:
        """Read ``--budget`` and ``--rate``."""
        from hf_datamap.engine.budget import Budget

        limits = Budget.parse(text, self.prices) if text else Budget(prices=self.prices)
        return replace(limits, rate=rate)

    def identity(self) -> dict[str, Any]:
        """What a folder must hold the map of, for this job to write to it."""
        return {"scorer": dict(self.scorer.identity), "source": self.source}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the data is.

    Raises:
        UsageError: it is.
    """
    parse_prices(options["price"])
    if options["scorer"] != "auto":
        _check_url(options["scorer"], options["base_url"])


def named_scorer(options: Mapping[str, Any]) -> Scorer | None:
    """The scorer that ``--scorer`` names; None for ``auto``."""
    from hf_datamap.scorers.registry import parse_scorer

    if options["scorer"] == "auto":
        return None
    return parse_scorer(options["scorer"], scorer_options(options["option"] or ()), **_judge(options))


def _fitting_scorer(layout: Layout, options: Mapping[str, Any]) -> Scorer:
    from hf_datamap.scorers.registry import describe_auto, parse_scorer

    choice = describe_auto(layout)
    click.echo(f"scorer {choice.name}: {choice.why}", err=True)
    return parse_scorer(choice.name, scorer_options(options["option"] or ()), **_judge(options))


def parse_prices(text: str | None) -> Prices | None:
    """Read ``IN,OUT``: dollars per million tokens."""
    from hf_datamap.engine.budget import Prices

    if not text:
        return None
    try:
        sent, received = (float(part.strip().removeprefix("$")) for part in text.split(","))
    except ValueError:
        raise click.UsageError(
            f"--price takes two numbers, dollars per million tokens: 2.5,10 - not {text!r}"
        ) from None
    return Prices(sent, received)


def _check_url(scorer: str, url: str | None) -> None:
    if url and scorer.startswith("reward:") and "+" not in scorer and "@" not in scorer:
        raise click.UsageError(f"--base-url is a judge's endpoint; a reward model that is served is {scorer}@{url}")


def scorer_options(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE``: JSON where it is JSON, else text."""
    options: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-o takes NAME=VALUE, for example -o max_tokens=4096, not {text!r}")
        try:
            options[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.strip().replace("-", "_")] = value
    return options


def _judge(options: Mapping[str, Any]) -> dict[str, Any]:
    names = ("base_url", "max_in_flight", "samples", "rubric")
    given = {name: options[name] for name in names if options[name] is not None}
    if options["listwise"]:
        given["mode"] = "listwise"
    return given | ({"rationales": True} if options["rationales"] else {})
