"""Release gates: conditions on the measures of an audit, read from one line of text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hf_datamap.curate.audit.findings import MEASURES
from hf_datamap.errors import GateError, did_you_mean


@dataclass(frozen=True)
class Gate:
    """One condition on which a release fails.

    Attributes:
        name: a measure of the audit.
        least: it fails above this value.
        value: the measure, None when it could not be taken (then the gate fails: nothing was shown).
        accepted: what an earlier report measured; up to that the gate does not fail.
        reason: why it could not be taken, as far as that is known.
    """

    name: str
    least: float
    value: float | None = None
    reason: str = ""
    accepted: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the release fails on it."""
        return self.value is None or self.value > max(self.least, -math.inf if self.accepted is None else self.accepted)

    @property
    def measured(self) -> str:
        """The measure in words."""
        if self.value is not None:
            return f"{self.value:.4g}"
        return f"not measured: {self.reason.removeprefix('not measured: ')}" if self.reason else "not measured"

    def __str__(self) -> str:
        return f"{self.name} {self.measured}, allowed {self.least:.4g}"


_GATE: Final = re.compile(r"\s*([a-z_]+)\s*(?:>\s*([0-9.eE+-]+)\s*(%?))?\s*")


def parse_gates(text: str) -> list[Gate]:
    """Read release gates: ``suspect_rate>0.05,inversion,duplicates>1%``. A name alone means ``> 0``.

    Raises:
        GateError: a piece is not of that form, or names no measure of the audit.
    """
    gates = []
    for piece in filter(None, map(str.strip, text.split(","))):
        match = _GATE.fullmatch(piece)
        if match is None:
            raise GateError(f"{piece!r} is not a gate: write NAME or NAME>NUMBER, like suspect_rate>0.05 or inversion")
        name, number, percent = match.groups()
        if name not in MEASURES:
            known = f"There are: {', '.join(sorted(MEASURES))}"
            raise GateError(f"no measure {name!r}. {did_you_mean(name, MEASURES, known)}")
        try:
            least = float(number or 0) / (100 if percent else 1)
        except ValueError:
            raise GateError(f"{number!r} in {piece!r} is not a number") from None
        gates.append(Gate(name, least))
    if not gates:
        raise GateError("no gate given; write for example 'suspect_rate>0.05,inversion,duplicates>0.01'")
    return gates


def judge_gates(
    gates: Sequence[Gate],
    measures: Mapping[str, float],
    not_measured: Mapping[str, str],
    accepted: Mapping[str, float],
) -> tuple[Gate, ...]:
    """Return the gates with the values that they were held against."""
    values = {name: float(value) for name, value in measures.items() if math.isfinite(value)}
    return tuple(
        Gate(gate.name, gate.least, values.get(gate.name), not_measured.get(gate.name, ""), accepted.get(gate.name))
        for gate in gates
    )


def read_baseline(baseline: Mapping[str, Any] | str | Path) -> dict[str, float]:
    """The measures of an earlier report, which are accepted as they are.

    Args:
        baseline: the report as `AuditReport.to_dict` gives it, or a file that holds it as JSON.

    Raises:
        GateError: it is not such a report.
    """
    report: Any = baseline
    try:
        if not isinstance(baseline, Mapping):
            report = json.loads(Path(baseline).read_text(encoding="utf-8"))
        # A hair above what was written: the report rounds to six digits.
        return {str(name): float(value) * (1 + 1e-5) for name, value in report["measures"].items() if value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GateError(
            f"{str(baseline)[:80]!r} is no report of an earlier audit (hf-datamap audit ... --report report.json): "
            f"{error}"
        ) from None
