"""What the checks of an audit share: the dataset as arrays, facts of its texts, labels, and the log they write to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.findings import AuditLog
from hf_datamap.curate.regions import region_codes
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.data.view import DatasetView

_SHOWN: Final = 160


@dataclass
class AuditContext:
    """One audit under way.

    Attributes:
        view: the dataset.
        texts: facts of its texts, None when they were not read or cannot be.
        labels: annotations to hold against the scores, as wide as them; None when there are none.
        evidence: how many examples each finding carries.
        least_similarity: from which two texts count as nearly equal.
        log: what the checks write into.
    """

    view: DatasetView
    texts: TextFacts | None = None
    labels: np.ndarray | None = None
    evidence: int = 10
    least_similarity: float = 0.8
    log: AuditLog = field(default_factory=AuditLog)

    @cached_property
    def region(self) -> np.ndarray | None:
        """Index into `hf_datamap.data.columns.REGIONS` of each row; None without scores."""
        return region_codes(self.view)

    @property
    def scores(self) -> np.ndarray:
        """Scores, shape (rows, responses); only for checks of labels, which are made of scored datasets only."""
        assert self.view.scores is not None  # noqa: S101
        return self.view.scores

    def example_rows(self, rows: Iterable[int], **more: np.ndarray) -> list[dict[str, Any]]:
        """The first of some rows as evidence: their place, their prompt, and what ``more`` says about each."""
        return [
            {
                **self._place(row),
                "prompt": self._prompt(row),
                **{name: values[row].item() for name, values in more.items()},
            }
            for row in list(map(int, rows))[: self.evidence]
        ]

    def example_responses(self, flags: np.ndarray) -> list[dict[str, Any]]:
        """The first flagged responses as evidence: their place, how they begin and how they end."""
        assert self.texts is not None  # noqa: S101 - flags come from the texts
        responses, evidence = self.texts.responses, []
        for k in np.flatnonzero(flags)[: self.evidence]:
            row, place = int(responses.row[k]), int(responses.place[k])
            example = self.view.example(row)
            text = (example.responses[place] or "") if example else ""
            evidence.append(
                {
                    **self._place(row),
                    "response": place + 1,
                    "begins": text[:_SHOWN],
                    "ends": text[-_SHOWN:] if len(text) > _SHOWN else "",
                }
            )
        return evidence

    def _place(self, row: int) -> dict[str, Any]:
        split, index = self.view.where(row)
        return {"row": index} if len(self.view.splits) == 1 else {"split": split, "row": index}

    def _prompt(self, row: int) -> str:
        example = self.view.example(row)
        return example.prompt[-1]["content"][:_SHOWN] if example and example.prompt else ""


def as_wide(matrix: np.ndarray, width: int) -> np.ndarray:
    """A matrix cut, or filled up with NaN, to a width."""
    if matrix.shape[1] >= width:
        return matrix[:, :width]
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=np.nan)


def row_range(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest valid value of each row; infinite where there is none."""
    valid = np.isfinite(matrix)
    low = np.where(valid, matrix, np.inf).min(axis=1, initial=np.inf)
    return low, np.where(valid, matrix, -np.inf).max(axis=1, initial=-np.inf)
