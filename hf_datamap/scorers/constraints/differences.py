"""How often the repaired checks give another verdict than the published ones, by kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from hf_datamap.data.example import Example
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.checker import Checker


@dataclass(frozen=True, slots=True)
class Difference:
    """Verdicts of one kind of constraint by the repaired and the published check.

    Attributes:
        kind: id of the kind of constraint.
        verdicts: how many verdicts were compared.
        repaired_only: how many responses meet it by the repaired check only.
        published_only: how many meet it by the published check only.
    """

    kind: str
    verdicts: int
    repaired_only: int
    published_only: int


def compare_behaviours(examples: Iterable[Example], *, loose: bool = False) -> list[Difference]:
    """Check all responses in both ways and return the kinds in the order of how often they differ.

    Rows whose constraints cannot be read, and responses that cannot be checked, are left out.

    Args:
        examples: rows with constraints and responses.
        loose: whether to compare loose verdicts; see `Checker.loose`.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for example in examples:
        try:
            checkers = [Checker(example.constraints, behaviour=behaviour) for behaviour in ("repaired", "published")]
        except RowError:
            continue
        for response in filter(None, example.responses):
            try:
                verdicts = [checker.loose(response) if loose else checker.strict(response) for checker in checkers]
            except RowError:
                continue
            for constraint, repaired, published in zip(example.constraints, *verdicts, strict=True):
                count = counts[constraint.id]
                count[0] += 1
                count[1] += repaired and not published
                count[2] += published and not repaired
    differences = [Difference(kind, *count) for kind, count in counts.items()]
    return sorted(differences, key=lambda row: (-(row.repaired_only + row.published_only), row.kind))


def as_markdown(differences: Iterable[Difference]) -> str:
    """Return a table of the kinds that differ."""
    lines = ["| kind | verdicts | repaired only | published only |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.kind} | {row.verdicts:,} | {row.repaired_only:,} | {row.published_only:,} |"
        for row in differences
        if row.repaired_only + row.published_only
    ]
    return "\n".join(lines)
