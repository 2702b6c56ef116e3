"""Datasets opened from the command line, and folders that commands write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data import Layout


def open_source(
    source: str,
    splits: tuple[str, ...] = (),
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Dataset | DatasetDict:
    """Open a dataset: one split, or several as a `DatasetDict`."""
    from datasets import DatasetDict

    from hf_datamap.data.load import load_source

    if splits == ("all",):
        splits = split_names(source, config, revision)
    parts = {name: load_source(source, name or None, config, revision) for name in splits or ("",)}
    if limit:
        parts = {name: part.select(range(min(limit, len(part)))) for name, part in parts.items()}
    return DatasetDict(parts) if len(parts) > 1 else next(iter(parts.values()))


def split_names(source: str, config: str | None = None, revision: str | None = None) -> tuple[str, ...]:
    """The splits of a dataset; none for a file."""
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


def check_new(out: Path, record_name: str, *, overwrite: bool = False) -> None:
    """Refuse a folder that holds something, before work is done.

    Args:
        out: the folder.
        record_name: the file that tells that the same command wrote what is in it.
        overwrite: whether that may be replaced.

    Raises:
        UsageError: the folder may not be written to.
    """
    from hf_datamap.data.exchange import is_vacant, settle

    if out.is_dir():
        settle(out)
    if is_vacant(out) or (overwrite and (out / record_name).is_file()):
        return
    way_out = "" if overwrite else f", or pass --overwrite if this command wrote it ({record_name} is there)"
    raise click.UsageError(f"{out} exists and is not an empty folder; name another one{way_out}")


@contextmanager
def written_folder(out: Path, record_name: str, record: Mapping[str, Any]) -> Iterator[Path]:
    """Give a folder to write to that becomes ``out`` in one step, with a JSON record of how it was made.

    Args:
        out: the folder.
        record_name: name of the record in it.
        record: what it says.
    """
    from hf_datamap.data.exchange import replaced_together
    from hf_datamap.publish.folder import MAP_FILE

    with replaced_together(out, obsolete=("data", "removed", MAP_FILE)) as new:
        yield new
        (new / record_name).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_parquet(ds: Dataset | DatasetDict, folder: Path) -> None:
    """Write each split as Parquet shards under ``folder``."""
    from hf_datamap.data.shards import splits_of, write_splits

    write_splits(splits_of(ds), folder)
