"""What ``audit``, ``select`` and ``pairs`` share: a data set opened from the command line, written as Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data import Layout

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("source"),
    click.option("--split", "splits", multiple=True, help="Split to read; several times for several, or all."),
    click.option("--config", help="Configuration (subset) of the dataset."),
    click.option("--revision", help="Branch, tag or commit on the Hub."),
    click.option("--layout", "layout_text", help="Where prompt and responses are: a known layout, paths or JSON."),
    click.option("--limit", type=click.IntRange(min=1), help="Only the first rows of each split."),
)


def source_options(function: Function) -> Function:
    """Add the options that name a data set to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def open_source(
    source: str,
    splits: tuple[str, ...] = (),
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Dataset | DatasetDict:
    """Open a data set: one split, or several as a `DatasetDict`."""
    from datasets import DatasetDict

    from hf_datamap.data.load import load_source

    if splits == ("all",):
        splits = split_names(source, config, revision)
    parts = {name: load_source(source, name or None, config, revision) for name in splits or ("",)}
    if limit:
        parts = {name: part.select(range(min(limit, len(part)))) for name, part in parts.items()}
    return DatasetDict(parts) if len(parts) > 1 else next(iter(parts.values()))


def split_names(source: str, config: str | None = None, revision: str | None = None) -> tuple[str, ...]:
    """The splits of a data set; none for a file."""
    from datasets import get_dataset_split_names

    from hf_datamap.data.exchange import settle
    from hf_datamap.errors import SourceError

    path = Path(source).expanduser()
    settle(path)
    if path.is_file():
        return ()
    if (saved := path / "dataset_dict.json").is_file():
        return tuple(json.loads(saved.read_text(encoding="utf-8"))["splits"])
    try:
        return tuple(get_dataset_split_names(source, config, revision=revision))
    except Exception as error:
        raise SourceError(f"cannot tell the splits of {source}: {error}; name them with --split") from None


def read_layout(text: str | None) -> Layout | None:
    """The layout an option gives, None to detect it."""
    from hf_datamap.data import parse_layout

    return parse_layout(text) if text else None


def scored(ds: Dataset | DatasetDict, layout: Layout | None) -> Dataset | DatasetDict:
    """``ds`` as it is when it has scores; with the scores that ship with it when it has those; saying so."""
    from datasets import DatasetDict

    from hf_datamap.data import columns, detect_layout
    from hf_datamap.errors import LayoutError
    from hf_datamap.scorers.columns import ColumnScorer
    from hf_datamap.scoring.annotate import annotate

    first = next(iter(ds.values())) if isinstance(ds, DatasetDict) else ds
    if columns.SCORES in first.column_names:
        return ds
    try:
        layout = layout or detect_layout(ds, sample=first.select(range(min(8, len(first)))).to_list())
    except LayoutError:
        return ds
    if not layout.scores:
        click.echo("No scores: only what needs none is done. Score it first with hf-datamap map.", err=True)
        return ds
    paths = layout.scores if isinstance(layout.scores, str) else ",".join(layout.scores)
    click.echo(f"Not mapped yet: using the scores that ship with it ({paths}).", err=True)
    return annotate(ds, ColumnScorer(paths), layout=layout, progress=False)[0]


def check_new(out: Path) -> None:
    """Refuse a folder that holds something, before work is done."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.UsageError(f"{out} exists and is not an empty folder; name another one")


def write_parquet(ds: Dataset | DatasetDict, folder: Path) -> None:
    """Write each split as Parquet shards under ``folder``."""
    from hf_datamap.data.shards import splits_of, write_splits

    write_splits(splits_of(ds), folder)
