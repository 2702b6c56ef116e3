"""Other cuts of an open map, tried out live."""

from __future__ import annotations

from fractions import Fraction

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from mapspace import points, sources
from mapspace.sessions import Session

HEADERS = ("Region", "As published", "With this cut", "Rows that move here", "Mean", "Variance")


def attempt(session: Session, low_variance: float, low_mean: float) -> DataMap:
    """Cut the map of a session with other fractions; the result becomes its colouring ``cut``.

    Args:
        session: the visitor's view.
        low_variance: fraction of mapped rows on the low-variance side.
        low_mean: fraction of those on the low-mean side.

    Raises:
        MapError: a fraction is outside 0 to 1.
    """
    index = session.map.index
    data_map = sources.fit(index, low_variance=_exact(low_variance), low_mean=_exact(low_mean))
    session.cut = points.regions(data_map.codes(index.mean, index.variance), "cut")
    session.cut_map = data_map
    return data_map


def _exact(value: float) -> Fraction:
    """The fraction a slider means: a third that is shown as 0.333 is a third."""
    third = round(value * 3)
    return Fraction(third, 3) if abs(value - third / 3) < 0.002 else Fraction(value).limit_denominator(1_000)


def table(session: Session) -> list[list[str]]:
    """Return what the cut changes, one row per region, as text."""
    if session.cut is None or session.cut_map is None:
        return []
    before, after = session.map.index.region, session.cut.codes
    lines = []
    for code, region in enumerate(session.cut_map.regions):
        mean, variance = (f"{value:.4g}" if value is not None else "–" for value in (region.mean, region.variance))
        moved = int(((after == code) & (before != code)).sum())
        name = columns.REGIONS[code].replace("_", " ")
        lines.append([name, f"{int((before == code).sum()):,}", f"{region.rows:,}", f"{moved:,}", mean, variance])
    return lines
