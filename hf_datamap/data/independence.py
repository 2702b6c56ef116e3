"""Which labels may be held against the scores of a dataset: never those that the scores were made of.

Scores that are the annotations agree with them in 100 % of the rows, whatever is wrong with either. So this is decided
in one place, from the layout and the scorer's identity, for the map, the audit, its gates, the card, the index and the
Space alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import parse_paths
from hf_datamap.data.statistics import kendall, pooled_correlation
from hf_datamap.errors import LayoutError

#: Why labels were not checked, wherever that has to be said.
SAME: Final = "not measured: the scores are the annotations"

_FEW: Final = 20  # rows below which a perfect agreement proves nothing
_MANY_RANKED: Final = 50  # rows of three and more responses that no two independent judges rank alike throughout


@dataclass(frozen=True)
class LabelBasis:
    """What the scores of a dataset can be compared with.

    Attributes:
        labels: ``annotations``; ``order`` (the chosen column is better than the rejected one), where the scores are
            the annotations; or ``none``.
        reason: why there is nothing to compare with; empty where there is.
    """

    labels: Literal["annotations", "order", "none"]
    reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether there is anything to compare the scores with."""
        return self.labels != "none"


def label_basis(layout: Layout | None, identity: Mapping[str, Any] | None) -> LabelBasis:
    """Decide from how rows are read and how they were scored which labels are independent of the scores.

    Args:
        layout: how rows are read; None when that is not known.
        identity: of the scorer, as a map's provenance keeps it; None when that is not known.
    """
    if layout is None:
        return LabelBasis("none", "the layout is not known")
    annotations = {_plain(path) for path in parse_paths(layout.annotations)}
    if not annotations and layout.label != "order":
        return LabelBasis("none", "nothing ships with the data that says which response is better")
    if not annotations & set(_scored_paths(identity or {}, layout)):
        return LabelBasis("annotations")
    return LabelBasis("order") if has_order(layout) else LabelBasis("none", SAME)


def map_label_basis(provenance: Mapping[str, Any]) -> LabelBasis:
    """The same for a map, from the layout and the scorer that its provenance remembers."""
    layout, identity = provenance.get("layout"), provenance.get("scorer")
    try:
        known = Layout.from_json(layout) if isinstance(layout, Mapping | str) else None
    except LayoutError:
        known = None
    return label_basis(known, identity if isinstance(identity, Mapping) else None)


def has_order(layout: Layout | None) -> bool:
    """Whether the responses of every row are a chosen and a rejected column, in this order."""
    names = [path.lower() for path in layout.responses] if layout else []
    return len(names) == 2 and "chosen" in names[0] and "reject" in names[1] and not any("[]" in name for name in names)


def independent_labels(basis: LabelBasis, annotations: np.ndarray | None, rows: int) -> np.ndarray | None:
    """The labels to compare scores with, shape (rows, responses); None where there are none.

    Args:
        basis: what `label_basis` says.
        annotations: as the layout reads them, shape (rows, responses), NaN where missing.
        rows: how many rows there are.
    """
    if basis.labels == "order":
        return np.tile([1.0, 0.0], (rows, 1))
    return annotations if basis.measured else None


def same_values(scores: np.ndarray, annotations: np.ndarray) -> bool:
    """Whether scores are the annotations, judged by the numbers alone: equal, rescaled, or always in the same order.

    Rescaled: within rows both are proportional. The same order: in at least 50 rows of three and more responses every
    pair is ordered alike, which no two independent judges achieve.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: shape (rows, responses), NaN where missing.
    """
    width = min(scores.shape[1], annotations.shape[1])
    scores, annotations = scores[:, :width], annotations[:, :width]
    both = np.isfinite(scores) & np.isfinite(annotations)
    if not both.any():
        return False
    if np.allclose(scores[both], annotations[both].astype(np.float32), rtol=1e-5, atol=1e-6):
        return True
    differences = np.abs(annotations - np.where(both, annotations, np.inf).min(axis=1, keepdims=True))
    graded = len(np.unique(differences[both & (differences > 0)])) > 2  # mere choices are proportional to anything
    rows = both.sum(axis=1) > 1
    if graded and rows.sum() >= _FEW and pooled_correlation(scores, annotations) > 1 - 1e-9:
        return True
    ranked = both.sum(axis=1) > 2
    taus = kendall(scores[ranked], annotations[ranked])
    known = taus[np.isfinite(taus)]
    return bool(known.size >= _MANY_RANKED and (known > 1 - 1e-9).all())


def _scored_paths(identity: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    """The columns that scores were read from, through panels and whatever else holds scorers."""
    if identity.get("kind") == "columns":
        yield from map(_plain, parse_paths(identity.get("path") or layout.scores))
    for value in identity.values():
        if isinstance(value, Mapping):
            yield from _scored_paths(value, layout)
        elif isinstance(value, list | tuple):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _scored_paths(item, layout)


def _plain(path: str) -> str:
    """A path without the ``[]`` at its end, which a list of numbers may have or not."""
    return path.removesuffix("[]")
