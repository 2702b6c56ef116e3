"""Texts that repeat others: exactly, or nearly, by MinHash sketches in bands (Broder 1997; Indyk and Motwani 1998)."""

from __future__ import annotations

from typing import Final

import numpy as np

from hf_datamap.curate.audit import tokens as tk

_BANDS: Final = 8


def first_of(hashes: np.ndarray) -> np.ndarray:
    """For each entry the index of the first one with the same hash (its own, when it is the first)."""
    _, first, back = np.unique(hashes, return_index=True, return_inverse=True)
    return np.asarray(first[back])


def near(sketches: np.ndarray, usable: np.ndarray, least: float) -> np.ndarray:
    """For each entry an earlier one that nearly equals it, -1 when there is none.

    Entries whose sketches agree in a whole band are compared with the first of them: the estimated Jaccard similarity
    must reach ``least``. With 8 bands of 4, a true similarity of 0.8 is found with a probability of 98 %.

    Args:
        sketches: uint32 of shape (entries, size), size a multiple of 8.
        usable: which entries take part.
        least: similarity from which two texts count as nearly equal.
    """
    found = np.full(len(sketches), -1, np.int64)
    entries = np.flatnonzero(usable)
    mine = sketches[entries]
    for band in np.split(mine, _BANDS, axis=1):
        key = np.zeros(len(band), np.uint64)
        for column in band.T:
            key = tk.mix(key ^ column.astype(np.uint64))
        first = first_of(key)
        later = np.flatnonzero(first != np.arange(len(first)))
        alike = (mine[later] == mine[first[later]]).mean(axis=1) >= least
        rows, others = entries[later[alike]], entries[first[later[alike]]]
        better = (found[rows] < 0) | (others < found[rows])
        found[rows[better]] = others[better]
    return found
