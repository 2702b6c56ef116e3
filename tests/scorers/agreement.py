"""How far the checks agree with published verdicts, kind by kind: ``python -m tests.scorers.agreement FILE.parquet``.

FILE has a row per response with ``instruction_id_list``, ``kwargs``, ``response`` and the verdicts
``follow_instruction_list`` and ``follow_instruction_list_loose``.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from hf_datamap.scorers.constraints import Checker, parse_constraints

COLUMNS = ["instruction_id_list", "kwargs", "response", "follow_instruction_list", "follow_instruction_list_loose"]
LANGUAGES = ("english", "spanish", "french")
DETECTED = {
    "language:response_language",
    *(f"change_case:{language}_{case}" for language in LANGUAGES for case in ("capital", "lowercase")),
}


@dataclass
class Agreement:
    """Verdicts compared, and how many of them differ."""

    verdicts: int = 0
    strict: int = 0
    loose: int = 0

    @property
    def worst(self) -> float:
        """The share of equal verdicts, in the mode that has fewer."""
        return 1 - max(self.strict, self.loose) / self.verdicts


def read(path: str) -> list[tuple]:
    return [tuple(row[column] for column in COLUMNS) for row in pq.read_table(path, columns=COLUMNS).to_pylist()]


def agreement(rows: Iterable[tuple], **options: Any) -> dict[str, Agreement]:
    """Compare by kind; under ``exact`` and ``detected`` the sums, the latter of kinds that ask a language detector."""
    found: dict[str, Agreement] = defaultdict(Agreement)
    for ids, kwargs, response, strict, loose in rows:
        both = Checker(parse_constraints(ids, kwargs), **options).both(response or "")
        for kind, ours, published in zip(ids, both, zip(strict, loose, strict=True), strict=True):
            for key in (kind, "detected" if kind[3:] in DETECTED else "exact"):
                found[key].verdicts += 1
                found[key].strict += ours[0] != published[0]
                found[key].loose += ours[1] != published[1]
    return found


def main(path: str) -> None:
    print("| kind | verdicts | strict differ | loose differ | agree |\n|---|---:|---:|---:|---:|")
    for kind, of in sorted(agreement(read(path)).items(), key=lambda item: (":" not in item[0], item[0])):
        print(f"| {kind} | {of.verdicts} | {of.strict} | {of.loose} | {100 * of.worst:.2f} % |")


if __name__ == "__main__":
    main(sys.argv[1])
