"""One measured figure, and how the table of them is printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A ratio (or a rate) measured in one run.

    Attributes:
        what: what was compared with what.
        value: the figure; None where it could not be measured, for the reason in `note`.
        goal: the least (or, with `at_most`, the greatest) value wanted; None when it is only reported.
        at_most: whether smaller is better.
        unit: "x" for ratios, otherwise "rows/s", "s", "MB", ...
        note: raw numbers behind the ratio.
    """

    what: str
    value: float | None
    goal: float | None = None
    at_most: bool = False
    unit: str = "x"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal, and where nothing was measured."""
        if self.goal is None or self.value is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    @property
    def row(self) -> str:
        """The figure as a row of the table."""
        goal = "" if self.goal is None else f"{'≤' if self.at_most else '≥'} {self.goal:,g}"
        if self.value is None:
            return f"| {self.what} | **not measured** | {goal} | | {self.note} |"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"| {self.what} | {self.value:,.3g} {self.unit} | {goal} | {verdict} | {self.note} |"
