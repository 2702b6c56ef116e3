"""Evidence: what an inspection shows so that a person can tell whether the rows are read right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hf_datamap.data.example import Example
from hf_datamap.data.layout import Layout
from hf_datamap.data.values import seen

SHOWN_ROWS: Final = 3
_MOST_VALUES: Final = 20  # a label with more different values is a number, of which the range says more
_CHARS: Final = 160


@dataclass(frozen=True)
class RowAsRead:
    """One row as read, cut short.

    Attributes:
        prompt_end: how the prompt ends (the question, mostly).
        responses: how each response begins; None where there is none.
        preferred: places of the preferred responses, counted from 1; empty without a label or in a tie.
        label: the values that say so, by their path; empty when the order of the columns says it.
    """

    prompt_end: str
    responses: tuple[str | None, ...]
    preferred: tuple[int, ...]
    label: Mapping[str, str]


@dataclass(frozen=True)
class Evidence:
    """What was read, in numbers and samples.

    Attributes:
        rows: the first rows that read.
        label_values: how often each value of the label occurs; empty for scores of many values.
        preferred: how often each response is preferred, and how many rows tie or have no label.
        left_out: columns that are not read although they may belong to the prompt.
        files: the files that were joined, of a folder.
    """

    rows: tuple[RowAsRead, ...] = ()
    label_values: Mapping[str, int] = field(default_factory=dict)
    preferred: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        rows = [
            {
                "prompt_end": row.prompt_end,
                "responses": list(row.responses),
                "preferred": list(row.preferred),
                "label": dict(row.label),
            }
            for row in self.rows
        ]
        return {
            "rows": rows,
            "label_values": dict(self.label_values),
            "preferred": dict(self.preferred),
            "left_out": list(self.left_out),
            "files": list(self.files),
        }


class Collector:
    """Gathers evidence row by row."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows: list[RowAsRead] = []
        self.preferred: Counter[str] = Counter()
        self._values: Counter[str] = Counter()

    def add(self, example: Example, cells: Sequence[Any]) -> None:
        """Add a row that read, with the values of the layout's annotations in it."""
        places = preferred_places(example.annotations)
        outcome = "no label" if places is None else "a tie" if not places else f"response {places[0]}"
        self.preferred[outcome if places is None or len(places) < 2 else "several responses"] += 1
        if len(self._values) <= _MOST_VALUES:
            for cell in cells:
                self._values[_in_short(cell)] += 1
        if len(self.rows) < SHOWN_ROWS:
            label = {path: _in_short(cell) for path, cell in zip(self.layout.annotations, cells, strict=True)}
            self.rows.append(
                RowAsRead(
                    prompt_end=example.prompt[-1]["content"][-_CHARS:],
                    responses=tuple(None if text is None else text[:_CHARS] for text in example.responses),
                    preferred=tuple(places or ()),
                    label=label,
                )
            )

    def evidence(self, left_out: Sequence[str] = (), files: Sequence[str] = ()) -> Evidence:
        """Return what was gathered."""
        values = dict(self._values.most_common()) if len(self._values) <= _MOST_VALUES else {}
        preferred = dict(sorted(self.preferred.items(), key=lambda item: (len(item[0]), item[0])))
        return Evidence(tuple(self.rows), values, preferred, tuple(left_out), tuple(files))


def preferred_places(annotations: Sequence[float | None] | None) -> list[int] | None:
    """Return the places of the best responses, counted from 1; none of them in a tie, None without a label."""
    labels = [label for label in annotations or () if label is not None]
    if not labels or annotations is None:
        return None
    best = max(labels)
    places = [place for place, label in enumerate(annotations, 1) if label == best]
    return [] if len(places) == len(annotations) and len(places) > 1 else places


def _in_short(cell: Any) -> str:
    return cell if isinstance(cell, str) and len(cell) <= 60 else seen(cell, 60)


def example_as_json(example: Example) -> dict[str, Any]:
    """Return an example as plain JSON values; of images only what they are."""
    prompt: list[dict[str, Any]] = [dict(message) for message in example.prompt]
    for message in prompt:
        if "images" in message:
            message["images"] = [repr(image) for image in message["images"]]
    kwargs = [json.loads(json.dumps(dict(one.kwargs), default=str)) for one in example.constraints]
    ids = [one.id for one in example.constraints]
    return {
        "prompt": prompt,
        "responses": list(example.responses),
        "annotations": example.annotations,
        "references": list(example.references),
        "constraints": [{"id": name, "kwargs": given} for name, given in zip(ids, kwargs, strict=True)],
        "source_id": example.source_id,
        "scores": {name: list(values) for name, values in example.scores.items()},
        "reasoning": list(example.reasoning),
    }
