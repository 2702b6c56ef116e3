"""The provenance of a map: how its scores came about. Written here, for every way in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from hf_datamap.data import columns
from hf_datamap.datamap.reliability import joined
from hf_datamap.engine.budget import Usage
from hf_datamap.scorers.base import Scorer
from hf_datamap.scoring.job import MapJob, PartReport
from hf_datamap.scoring.spread import joined_spread


def provenance_of(
    job: MapJob, usage: Usage, reports: Iterable[PartReport], source: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the record that a map keeps; no secrets.

    Args:
        job: what was done; of a panel, the scorer with its scales.
        usage: what was spent.
        reports: what is told of the parts.
        source: where the data came from.
    """
    # In row order, whatever the order in which parts were finished: sums of floats depend on it.
    in_order = sorted(reports, key=lambda report: report.number)
    statuses: Counter[str] = Counter()
    for report in in_order:
        statuses.update(report.statuses)
    scorer, layout = job.scorer, job.layout
    provenance: dict[str, Any] = {
        "scorer": dict(scorer.identity),
        "layout": {**layout.to_dict(), "name": layout.name, "why": layout.why},
        "source": dict(source or {}),
        "usage": usage.summary(job.budget.prices),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": {name: statuses[name] for name in (columns.OK, columns.PARTIAL, columns.FAILED, columns.SKIPPED)},
    }
    provenance |= scorer.provenance()
    if sent_otherwise := scorer.sent_otherwise():
        provenance["sent_otherwise"] = dict(sent_otherwise)
    if finding := spread_finding(scorer, in_order):
        provenance["constant"] = finding
    if noise := joined(report.noise for report in in_order):
        provenance["noise"] = noise.summary()
    return provenance


def spread_finding(scorer: Scorer, reports: Iterable[PartReport]) -> str:
    """Say why the scores hardly tell responses apart; empty when they do."""
    scale: Any = scorer.identity.get("scale")
    known = (float(scale[0]), float(scale[1])) if isinstance(scale, list | tuple) and len(scale) == 2 else None
    return joined_spread(report.spread for report in reports).finding(known)
