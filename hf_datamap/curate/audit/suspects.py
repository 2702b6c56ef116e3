"""Suspects: rows whose annotation the scores contradict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True)
class Suspect:
    """A row whose annotation the scores contradict.

    Attributes:
        row: its number (over all splits when there are several).
        split: its split.
        index: its number in that split.
        reason: why, in one sentence.
        probability: that the annotation is wrong, as `LabelErrorModel` (label_errors.py) estimates.
        margin: score of the response annotated worse minus that of the one annotated better.
        better: index of the response annotated better.
        worse: index of the response annotated worse.
        scores: scores of those two.
        annotations: annotations of those two.
        agreement: S_corr of the row, the papers' uncentred cosine.
        kendall: Kendall's tau-b of the row.
        pearson: Pearson correlation of the row.
        responses: the two texts, shortened; None when the row cannot be read.
    """

    row: int
    split: str
    index: int
    reason: str
    probability: float
    margin: float
    better: int
    worse: int
    scores: tuple[float, float]
    annotations: tuple[float, float]
    agreement: float
    kendall: float
    pearson: float
    responses: tuple[str, str] | None = None


class Suspects(Sequence[Suspect]):
    """The suspects, most probable first: arrays inside, `Suspect` objects when looked at.

    Args:
        rows: row numbers.
        table: for every field of `Suspect` that is a number, one array as long as ``rows``.
        places: split and index of a row number.
        texts: from row number and both indices to the two texts.
    """

    def __init__(
        self,
        rows: np.ndarray,
        table: Mapping[str, np.ndarray],
        places: Callable[[int], tuple[str, int]],
        texts: Callable[[int, int, int], tuple[str, str] | None] = lambda *_: None,
    ) -> None:
        self.rows = rows
        self._table, self._places, self._texts = table, places, texts

    @classmethod
    def none(cls, places: Callable[[int], tuple[str, int]]) -> Suspects:
        """No suspects at all."""
        return cls(np.empty(0, np.int64), {}, places)

    def __repr__(self) -> str:
        return f"Suspects({len(self.rows):,} rows)"

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Suspect: ...
    @overload
    def __getitem__(self, place: slice) -> list[Suspect]: ...
    def __getitem__(self, place: int | slice) -> Suspect | list[Suspect]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        cells = {name: values[place].item() for name, values in self._table.items()}
        better, worse = int(cells["better"]), int(cells["worse"])
        scores = (cells.pop("score_better"), cells.pop("score_worse"))
        labels = (cells.pop("label_better"), cells.pop("label_worse"))
        split, index = self._places(int(self.rows[place]))
        reason = (
            f"response {better + 1} is annotated better ({labels[0]:.4g} against {labels[1]:.4g}) than response "
            f"{worse + 1} but scored lower ({scores[0]:.4g} against {scores[1]:.4g}); "
            f"the annotation is wrong with an estimated probability of {cells['probability']:.0%}"
        )
        return Suspect(
            row=int(self.rows[place]),
            split=split,
            index=index,
            reason=reason,
            scores=scores,
            annotations=labels,
            responses=self._texts(int(self.rows[place]), better, worse),
            **cells,
        )
