"""Inspection: what a dataset looks like to this tool, before anything is scored."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_datamap.data import notebook
from hf_datamap.data.detect import left_out
from hf_datamap.data.evidence import Collector, Evidence, RowAsRead, example_as_json
from hf_datamap.data.example import Example
from hf_datamap.data.layout import Layout
from hf_datamap.data.parse import choose_layout
from hf_datamap.data.paths import read_paths
from hf_datamap.data.sample import take_sample
from hf_datamap.errors import RowError

_BATCH = 1000
_STREAM_LIMIT = 1000


@dataclass(frozen=True)
class Inspection:
    """What was detected in a dataset, why, and how its rows read.

    Attributes:
        layout: how rows are read.
        rows: rows looked at.
        readable: rows that read as a prompt with responses.
        skipped: rows that do not, by reason, most frequent first.
        mappable: rows with at least two responses that are not null; the others stay unmapped.
        responses: number of rows by number of responses.
        notes: further counts worth knowing (null, empty or identical responses, missing annotations), by what they are.
        example: the first readable row, as the tool sees it; None when there is none.
        first_skipped: the first error, with the value that was seen; empty when all rows read.
        unread: columns that the layout leaves alone.
        auto: what ``--scorer auto`` would do.
        complete: whether all rows were looked at.
        evidence: rows as read, counts of label values, what was left out: what a person needs to tell whether it
            is right.
    """

    layout: Layout
    rows: int
    readable: int
    skipped: Mapping[str, int]
    mappable: int
    responses: Mapping[int, int]
    notes: Mapping[str, int]
    example: Example | None
    first_skipped: str = ""
    unread: tuple[str, ...] = ()
    auto: str = ""
    complete: bool = True
    evidence: Evidence = field(default_factory=Evidence)

    def __repr__(self) -> str:
        return f"Inspection(layout {self.layout.name!r}, {self.readable:,} of {self.rows:,} rows readable)"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        out = {name: getattr(self, name) for name in self.__dataclass_fields__}
        out["layout"] = {
            **self.layout.to_dict(),
            "polarity": self.layout.polarity,
            "columns": list(self.layout.columns),
        }
        out["layout"]["scores"] = self.layout.scores
        out["example"] = None if self.example is None else example_as_json(self.example)
        for name in ("skipped", "notes"):
            out[name] = dict(out[name])
        out["responses"] = {str(count): rows for count, rows in self.responses.items()}
        out["unread"] = list(self.unread)
        out["evidence"] = self.evidence.to_dict()
        return out

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_text(self, width: int = 300) -> str:
        """Return a page to read in a terminal; texts are cut to `width` characters, control characters escaped."""
        layout = self.layout
        named = ", ".join
        missing = named(map(repr, self.evidence.left_out))
        warning = f"; NOT READ, although it may belong to the prompt: {missing}" if missing else ""
        lines = [
            ("layout", f"{layout.name}: {layout.why}{warning}"),
            ("prompt", named(layout.prompt) or "what the responses share"),
            ("responses", f"{named(layout.responses)} ({_span(self.responses)} per row)"),
            ("annotations", layout.polarity),
            ("scores", layout.scores or "none ship with the data"),
        ]
        extras = {"system": layout.system, "references": named(layout.references), "id": layout.source_id}
        extras["constraints"] = named(layout.constraints)
        extras |= {"history": named(layout.history), "prefix": layout.prefix, "tools": layout.tools}
        extras |= {"images": named(layout.images), "files": named(self.evidence.files)}
        lines += [(name, value) for name, value in extras.items() if value]
        lines += [("not read", named(self.unread))] if self.unread else []
        lines += [("auto", self.auto)] if self.auto else []
        counts = self.evidence.label_values, self.evidence.preferred
        lines += [
            (name, _counts(count)) for name, count in zip(("label values", "preferred"), counts, strict=True) if count
        ]
        looked = f"{self.rows:,} rows" if self.complete else f"the first {self.rows:,} rows"
        lines.append(
            ("rows", f"{looked}: {self.mappable:,} can be mapped, {self.rows - self.readable:,} would be skipped")
        )
        lines += [("", f"{count:,} skipped: {reason}") for reason, count in self.skipped.items()]
        lines += [("", f"for example: {self.first_skipped}")] if self.first_skipped else []
        lines += [("", f"{count:,} with {what}") for what, count in self.notes.items()]
        page = [f"{name:<12} {printable(value)}" for name, value in lines]
        return "\n".join([*page, "", *self._example_lines(width)])

    def _repr_html_(self) -> str:
        """Return the page for notebooks."""
        return notebook.preformatted(self.to_text())

    def _example_lines(self, width: int) -> list[str]:
        if self.example is None:
            return ["no row could be read"]
        lines = ["one example, as read:"]
        lines += [f"  {m['role']:<10} {clipped(m['content'], width)}" for m in self.example.prompt]
        labels = self.example.annotations or [None] * len(self.example.responses)
        for number, (text, label) in enumerate(zip(self.example.responses, labels, strict=True), 1):
            if number > 6:
                lines.append(f"  ... and {len(self.example.responses) - 6} more responses")
                break
            mark = f"response {number}" + ("" if label is None else f" [{label:.4g}]")
            lines.append(f"  {mark}: {'(null)' if text is None else clipped(text, width)}")
        lines += [f"  reference  {clipped(text, width)}" for text in self.example.references]
        lines += [
            f"  constraint {printable(c.id)} {printable(json.dumps(dict(c.kwargs)))}" for c in self.example.constraints
        ]
        rows = self.evidence.rows
        lines += ["", "rows as read (* is preferred):"] if rows else []
        return lines + [line for number, row in enumerate(rows, 1) for line in _row_lines(number, row)]


def inspect_dataset(
    ds: Any,
    *,
    layout: Layout | str | None = None,
    limit: int | None = None,
    describe_auto: Callable[[Layout], str] | None = None,
    files: Sequence[str] = (),
    images: bool = False,
) -> Inspection:
    """Find out how a dataset would be read, without scoring it.

    Args:
        ds: a ``Dataset``, ``IterableDataset`` or ``DatasetDict`` (all its splits).
        layout: a `Layout`, or what ``--layout`` takes; detected when left out.
        limit: how many rows to look at; all, or the first 1,000 of a streaming dataset, when left out.
        describe_auto: says which scorer ``--scorer auto`` would take for a layout (``Inspection.auto``); the scorers
            stand above this room, so that the caller brings them along.
        files: names of the files that the rows are from, to be shown.
        images: whether rows with images may be read; without it they are refused, as a scorer of texts would.

    Raises:
        LayoutError: no layout fits, or several do.
    """
    chosen = choose_layout(ds, layout, images=images)
    splits = list(ds.values()) if isinstance(ds, Mapping) else [ds]
    if limit is None and not all(hasattr(split, "num_rows") for split in splits):
        limit = _STREAM_LIMIT
    tally = _Tally(chosen.label == "order" or bool(chosen.annotations))
    collector = Collector(chosen)
    for result, cells in itertools.islice(_read(splits, chosen), limit):
        tally.add(result)
        if isinstance(result, Example):
            collector.add(result, cells)
    total = sum(getattr(split, "num_rows", -1) for split in splits)
    names = list(splits[0].features or splits[0].column_names or ())
    return Inspection(
        layout=chosen,
        rows=tally.rows,
        readable=tally.readable,
        skipped=dict(tally.skipped.most_common()),
        mappable=tally.mappable,
        responses=dict(sorted(tally.responses.items())),
        notes={what: count for what, count in tally.notes.items() if count},
        example=tally.example,
        first_skipped=tally.first_skipped,
        unread=tuple(n for n in names if n not in chosen.columns and not n.startswith("datamap_")),
        auto=describe_auto(chosen) if describe_auto else "",
        complete=tally.rows == total or (limit is not None and tally.rows < limit),
        evidence=collector.evidence(left_out(chosen, take_sample(splits[0])), files),
    )


def _read(splits: list[Any], layout: Layout) -> Iterator[tuple[Example | RowError, Sequence[Any]]]:
    """Yield every row as read, with the values of its label."""
    for split in splits:
        if hasattr(split, "num_rows"):
            split = split.with_format("arrow")  # noqa: PLW2901 - the same rows, read without a detour
        for batch in split.select_columns(list(layout.columns)).iter(_BATCH):
            results = layout.read_batch(batch)
            labels = list(read_paths(batch, layout.annotations).values())
            yield from zip(results, zip(*labels, strict=True) if labels else [()] * len(results), strict=True)


@dataclass
class _Tally:
    """Counts over rows; `annotated` says whether the layout promises annotations."""

    annotated: bool
    rows: int = 0
    readable: int = 0
    mappable: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    responses: Counter[int] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    example: Example | None = None
    first_skipped: str = ""

    def add(self, result: Example | RowError) -> None:
        self.rows += 1
        if isinstance(result, RowError):
            self.skipped[result.reason] += 1
            self.first_skipped = self.first_skipped or str(result)
            return
        self.readable += 1
        self.example = self.example or result
        texts = result.responses
        present = [text for text in texts if text is not None]
        self.mappable += len(present) > 1
        self.responses[len(texts)] += 1
        self.notes["fewer than two responses (they stay unmapped)"] += len(present) < 2
        self.notes["a null response"] += len(present) < len(texts)
        self.notes["an empty response"] += any(not text.strip() for text in present)
        self.notes["identical responses"] += len(present) > 1 and len(set(present)) == 1
        labels = result.annotations
        self.notes["a tie (equal annotations)"] += labels is not None and len(labels) > 1 and _tied(labels)
        self.notes["no annotations"] += labels is None and self.annotated


def _tied(labels: list[float | None]) -> bool:
    return None not in labels and len(set(labels)) == 1


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value}: {count:,}" for value, count in counts.items())


def _row_lines(number: int, row: RowAsRead) -> list[str]:
    label = ", ".join(f"{path} = {value}" for path, value in row.label.items())
    source = f"({printable(label)}) " if label else ""
    lines = [f"  row {number}      {source}… {printable(row.prompt_end.strip())}"]
    for place, text in enumerate(row.responses[:6], 1):
        mark = "*" if place in row.preferred else " "
        lines.append(f"    {mark} {place}      {'(null)' if text is None else printable(text.strip())}")
    return lines + ([f"      ... and {len(row.responses) - 6} more"] if len(row.responses) > 6 else [])


def _span(counts: Mapping[int, int]) -> str:
    if not counts:
        return "0"
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal: control and direction marks escaped, line breaks shown as ``⏎``."""
    first, *others = text.split("\n")
    if others:  # by parts: an expression for blanks around a line break takes quadratic time on long blanks
        inner = (part.strip() for part in others[:-1])
        text = " ⏎ ".join([first.rstrip(), *(part for part in inner if part), others[-1].lstrip()])
    return "".join(mark if mark.isprintable() or mark in "\u200c\u200d" else ascii(mark)[1:-1] for mark in text)


def clipped(text: str, width: int) -> str:
    """Return the beginning of a text, safe for a terminal, with its length when something was cut."""
    shown = printable(text[:width].strip())
    return f"{shown}… ({len(text):,} characters)" if len(text) > width else shown
