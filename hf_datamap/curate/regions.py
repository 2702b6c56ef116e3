"""The region of each row of a dataset: as stored, or cut anew from the scores."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hf_datamap.data import columns
from hf_datamap.data.view import DatasetView
from hf_datamap.datamap.fit import find_cut


def region_codes(view: DatasetView) -> np.ndarray | None:
    """Index into `hf_datamap.data.columns.REGIONS` of each row; None when the dataset has no scores either."""
    if view.region is not None or view.scores is None:
        return view.region
    return cut_regions(*columns.moments(view.scores))


def cut_regions(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Regions of points cut by themselves, in the authors' proportions: a third of high variance, the rest in half."""
    return find_cut(mean, variance, Fraction(2, 3), Fraction(1, 2)).codes(mean, variance)
