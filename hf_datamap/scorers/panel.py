"""`Panel`: several scorers as one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Final, Self

import numpy as np

from hf_datamap.data import Example, Layout
from hf_datamap.data.statistics import kendall
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.errors import RowError, ScorerError
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way

_KNOTS: Final = 101  # quantiles that a rank scale is kept as


@dataclass(frozen=True, slots=True)
class Scale:
    """How one member's scores become comparable with those of others.

    Attributes:
        mean: mean of its scores over all responses of the data it was fitted on (``z``).
        sd: their standard deviation (``z``).
        knots: 101 quantiles of its scores, from the least to the greatest (``rank``).
    """

    mean: float = 0.0
    sd: float = 1.0
    knots: tuple[float, ...] = ()

    def __call__(self, value: float) -> float:
        """The standardised score: in standard deviations from the mean, or the share of scores below (ties half)."""
        if not self.knots:
            return (value - self.mean) / self.sd
        places = np.linspace(0.0, 1.0, len(self.knots))
        low = np.searchsorted(self.knots, value, "left")
        high = np.searchsorted(self.knots, value, "right")
        if low < high:  # on one or several knots
            return float((places[low] + places[high - 1]) / 2)
        return float(np.interp(value, self.knots, places))


@dataclass(frozen=True, slots=True)
class PanelReport:
    """How far the members of a panel agree.

    Attributes:
        members: their names.
        scored: responses that each gave a score.
        alpha: Krippendorff's alpha of the standardised scores, interval metric: 1 is agreement, 0 is chance.
        kendall: for each two members the mean of Kendall's tau-b over the prompts where both rank the responses.
    """

    members: tuple[str, ...]
    scored: tuple[int, ...]
    alpha: float | None
    kendall: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in zip(self.members, self.scored, strict=True))
        alpha = "unknown" if self.alpha is None else f"{self.alpha:.3f}"
        lines = [f"scored: {counts}", f"Krippendorff's alpha {alpha}"]
        lines += [f"Kendall's tau {pair}: {'-' if tau is None else f'{tau:.3f}'}" for pair, tau in self.kendall.items()]
        return "\n".join(lines)


class Panel(Scorer):
    """Several scorers, each standardised over the dataset, averaged.

    Members score on scales of their own, so a panel must know how each spreads its scores over the data before it can
    average: `annotate` finds out by itself; for ``score_fn`` pass the panel through `fit_panel` first. Answers are kept
    under the members' own names in the store: a member that has scored the data before is not asked again.

    A member that cannot score a response (an empty one, say) has its say on the others of the row all the same. So that
    no difference between responses comes from who scored them, members' scores are then freed from how much higher or
    lower each of them scores this row than the others (`balanced`). The row's status is ``partial``, and its error says
    who was missing. A member that cannot work at all (wrong key, no such model) is
    left out everywhere; only when all are lost does the run stop.

    Args:
        members: scorers, or scorers by name.
        standardise: ``z`` (mean 0, standard deviation 1), ``rank`` (share of the member's scores below) or ``none``.
        combine: ``mean`` or ``median`` over members.
        columns: whether to add each member's own scores as ``datamap_scores_NAME``.

    Raises:
        ScorerError: fewer than two members, or an option is out of range.
    """

    def __init__(
        self,
        members: Sequence[ScorerLike] | Mapping[str, ScorerLike],
        *,
        standardise: str = "z",
        combine: str = "mean",
        columns: bool = False,
    ) -> None:
        if standardise not in ("z", "rank", "none"):
            raise ScorerError(f"standardise must be 'z', 'rank' or 'none', not {standardise!r}")
        if combine not in ("mean", "median"):
            raise ScorerError(f"combine must be 'mean' or 'median', not {combine!r}")
        named = dict(members) if isinstance(members, Mapping) else _named(members)
        if len(named) < 2:
            raise ScorerError("a panel needs at least two members")
        for name in named:
            if not re.fullmatch(r"\w{1,64}", name):
                raise ScorerError(f"{name!r} cannot name a panel's member: letters, digits and _ only")
        self.members = {name: _as_member(member) for name, member in named.items()}
        self.standardise, self.how = standardise, combine
        self.part_names = tuple(self.members) if columns else ()
        self.scales: dict[str, Scale] | None = {name: Scale() for name in named} if standardise == "none" else None
        self.report: PanelReport | None = None
        self.max_in_flight = max(1, sum(member.max_in_flight for member in self._members(Way.ENGINE).values()))
        self.may_lose = len(named) - 1

    def __repr__(self) -> str:
        return f"Panel({', '.join(self.members)}; standardise={self.standardise!r}, combine={self.how!r})"

    def _members(self, way: Way) -> dict[str, Scorer]:
        return {name: member for name, member in self.members.items() if member.way is way}

    @property
    def identity(self) -> dict[str, JSON]:
        """The members' identities, how they are combined, and on what scales."""
        scales: JSON = None
        if self.scales is not None and self.standardise != "none":
            scales = {name: [scale.mean, scale.sd, list(scale.knots)] for name, scale in self.scales.items()}
        members: JSON = {name: dict(member.identity) for name, member in self.members.items()}
        how: dict[str, JSON] = {"kind": "panel", "standardise": self.standardise, "combine": self.how}
        return how | {"members": members, "scales": scales}

    @property
    def column_members(self) -> Mapping[str, Scorer]:
        """Members whose scores are in the data."""
        return self._members(Way.COLUMNS)

    @property
    def takes_images(self) -> bool:
        """Whether every member does."""
        return all(member.takes_images for member in self.members.values())

    @property
    def needs_fit(self) -> bool:
        """Whether the members' scales are still unknown."""
        return self.scales is None

    def score_paths(self, layout: Layout | None) -> tuple[str, ...]:
        """The paths that members read."""
        paths = [path for member in self.column_members.values() for path in member.score_paths(layout)]
        return tuple(dict.fromkeys(paths))

    def read_with(self, layout: Layout) -> Layout:
        """Return the layout as the members want rows read."""
        if paths := self.score_paths(None):
            layout = replace(layout, scores=",".join(dict.fromkeys([*filter(None, [layout.scores]), *paths])))
        for member in self.members.values():
            layout = member.read_with(layout)
        return layout

    def tasks(self, example: Example) -> list[Task]:
        """Every member's tasks, each under its own name."""
        return [
            task if task.scorer is not None else replace(task, scorer=member)
            for member in self._members(Way.ENGINE).values()
            for task in member.tasks(example)
        ]

    async def answer(self, task: Task) -> Answer:
        """Let the member that a task belongs to answer it.

        Raises:
            ScorerError: the task belongs to none.
        """
        if task.scorer is None:
            raise ScorerError("a panel answers its members' tasks only")
        return await task.scorer.answer(task)

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Standardise what the members gave, and average it; without scales, only gather it."""
        gathered = [
            replace(_first(given), error="" if _first(given).value is not None else _first(given).error, parts=given)
            for given in zip(*self._parts(example, answers).values(), strict=True)
        ]
        return gathered if self.scales is None else self.standardised(gathered)

    def standardised(self, gathered: Sequence[Score]) -> list[Score]:
        """Turn what was gathered for one row into its scores.

        Raises:
            ScorerError: the panel has no scales yet.
        """
        if self.scales is None:
            raise ScorerError("the panel does not know its members' scales: see fit_panel")
        scales = [self.scales[name] for name in self.members]
        table = np.full((len(gathered), len(scales)), np.nan)
        for place, score in enumerate(gathered):
            for i, part in enumerate(score.parts):
                table[place, i] = np.nan if part.value is None else scales[i](part.value)
        return [self._score(score, line) for score, line in zip(gathered, balanced(table), strict=True)]

    def _parts(self, example: Example, answers: Sequence[Answer | str]) -> dict[str, list[Score]]:
        """What each member gives each response."""
        rest = iter(answers)
        parts: dict[str, list[Score]] = {}
        for name, member in self.members.items():
            if member.way is Way.ENGINE:
                count = len(member.tasks(example))
                parts[name] = member.combine(example, [next(rest) for _ in range(count)])
            elif member.way is Way.COLUMNS:
                parts[name] = _in_columns(example.scores.get(name), len(example.responses))
            else:
                parts[name] = member.score_inline(example)
        return parts

    def _score(self, gathered: Score, given: np.ndarray) -> Score:
        """One response's score, from what each member gives it on its scale (NaN where nothing)."""
        used = np.flatnonzero(np.isfinite(given)).tolist()
        if not used:
            return gathered
        names, parts = list(self.members), gathered.parts
        missing = [f"{names[i]} ({part.error})" for i, part in enumerate(parts) if i not in used]
        return Score(
            float(np.mean(given[used]) if self.how == "mean" else np.median(given[used])),
            f"scored without {', '.join(missing)}" if missing else "",
            noise=self._noise({names[i]: parts[i].noise for i in used}),
            parts=parts,
        )

    def _noise(self, noises: Mapping[str, float | None]) -> float | None:
        """The variance of a mean of independent members: the sum of theirs over n squared; None when one is unknown."""
        known = [noise / self._sd(name) ** 2 for name, noise in noises.items() if noise is not None]
        linear = self.how == "mean" and self.standardise != "rank"
        return sum(known) / len(known) ** 2 if linear and len(known) == len(noises) else None

    def _sd(self, name: str) -> float:
        return self.scales[name].sd if self.scales else 1.0

    def unfitted(self) -> Self:
        """The panel without scales: it gathers what the members give."""
        return self._with(scales=None, report=None)

    def fitted(self, rows: Sequence[Sequence[Score] | RowError]) -> Self:
        """Return the panel with scales and report, from what was gathered.

        Raises:
            ScorerError: fewer than two members scored anything.
        """
        names = tuple(self.members)
        read = [[score.parts for score in row if score.parts] for row in rows if not isinstance(row, RowError)]
        values = [
            np.array([[_number(part) for part in parts] for parts in row]).reshape(-1, len(names)) for row in read
        ]
        table = np.concatenate(values) if values else np.empty((0, len(names)))
        known = np.isfinite(table)
        speak = known.sum(axis=0).tolist()
        if sum(count > 0 for count in speak) < 2:
            silent = [name for name, count in zip(names, speak, strict=True) if not count]
            raise ScorerError(f"a panel needs two members that score something; none from {', '.join(silent)}")
        scales = {name: self._scale(table[known[:, i], i]) for i, name in enumerate(names)}
        return self._with(scales=scales, report=_report(names, values, table, scales))

    def provenance(self) -> dict[str, Any]:
        """How far the members agree, and what each has found out about itself."""
        record: dict[str, Any] = {"panel": self.report.to_dict()} if self.report is not None else {}
        records = {name: own for name, member in self.members.items() if (own := member.provenance())}
        return record | ({"members": records} if records else {})

    def sent_otherwise(self) -> Mapping[str, JSON]:
        """What was sent otherwise than asked for, by member."""
        records = {name: dict(member.sent_otherwise()) for name, member in self.members.items()}
        return {name: record for name, record in records.items() if record}

    def _with(self, **changed: Any) -> Self:  # noqa: ANN401 - attributes
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | changed)
        return other

    def _scale(self, values: np.ndarray) -> Scale:
        if self.standardise == "none" or not values.size:
            return Scale()
        if self.standardise == "rank":
            return Scale(knots=tuple(np.quantile(values, np.linspace(0, 1, _KNOTS)).tolist()))
        sd = float(values.std())
        return Scale(float(values.mean()), sd if sd > 0 else 1.0)  # one who always says the same says nothing: 0

    def release(self) -> None:
        """Let members give back what they hold beyond a run."""
        for member in self.members.values():
            member.release()

    def check(self) -> None:
        """Check the members; the panel can do without some of them (``may_lose``)."""
        errors: list[ScorerError] = []
        for member in self.members.values():
            try:
                member.check()
            except ScorerError as error:
                errors.append(error)
        if len(errors) > self.may_lose:
            raise errors[0]

    async def close(self) -> None:
        """Close the members' connections."""
        for member in self.members.values():
            await member.close()


def balanced(table: np.ndarray) -> np.ndarray:
    """Members' scores of one row as if all had scored the same responses.

    Where a score is missing, each member's scores are moved by its offset in the additive model response + member
    (least squares), so that the mean over whoever scored a response compares with that of another. A complete table
    stays as it is.

    Args:
        table: shape (responses, members), on a common scale, NaN where missing.
    """
    known = np.isfinite(table)
    scored = known.any(axis=1)
    if known[scored].all() or not scored.any():
        return table
    members = np.flatnonzero(known.any(axis=0))
    rows, columns = np.nonzero(known)
    design = np.zeros((len(rows), len(table) + table.shape[1]))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), len(table) + columns] = 1
    fit = np.linalg.lstsq(design, table[rows, columns], rcond=None)[0]
    offset = fit[len(table) :]
    return np.asarray(table - (offset - offset[members].mean()))


def _first(scores: Sequence[Score]) -> Score:
    return next((score for score in scores if score.value is not None), scores[0])


def _number(part: Score) -> float:
    return np.nan if part.value is None else part.value


def _as_member(member: ScorerLike) -> Scorer:
    """A scorer as a panel seats it.

    Raises:
        ScorerError: it is no scorer, is a panel itself, or does not name the column that it reads.
    """
    if isinstance(member, Panel):
        raise ScorerError("Panel cannot sit on a panel: name its members one by one")
    scorer = as_scorer(member)
    if scorer.way is Way.COLUMNS and not scorer.identity.get("path"):
        raise ScorerError("on a panel, scores that ship with the data need their path: columns:PATH")
    return scorer


def _in_columns(values: Sequence[float | None] | None, count: int) -> list[Score]:
    """Scores that were read from a column, one per response."""
    if values is None or len(values) != count:
        return [Score(None, f"{len(values or ())} scores in the column for {count} responses")] * count
    return [Score(None, "no number in the column") if value is None else Score(value) for value in values]


def _named(members: Sequence[ScorerLike]) -> dict[str, ScorerLike]:
    """Names from the members' kinds and models or columns: ``judge_gpt_4o``, numbered where they repeat."""
    named: dict[str, ScorerLike] = {}
    for member in members:
        name = re.sub(r"\W+", "_", as_scorer(member).name)[:60].strip("_")
        earlier = sum(other == name or other.startswith(f"{name}_") for other in named)
        named[f"{name}_{earlier + 1}" if name in named else name] = member
    return named


def _report(
    names: tuple[str, ...], rows: Sequence[np.ndarray], table: np.ndarray, scales: Mapping[str, Scale]
) -> PanelReport:
    """Agreement of the members, from their scores per row (responses, members) and of all rows together."""
    standard = np.array(
        [[scales[n](v) if np.isfinite(v) else np.nan for n, v in zip(names, line, strict=True)] for line in table]
    )
    pairs = {}
    for i, j in combinations(range(len(names)), 2):
        taus = [tau for row in rows if (tau := _tau(row[:, i], row[:, j])) is not None]
        pairs[f"{names[i]} ~ {names[j]}"] = float(np.mean(taus)) if taus else None
    scored = tuple(int(count) for count in np.isfinite(table).sum(axis=0))
    return PanelReport(names, scored, krippendorff(standard), pairs)


def _tau(a: np.ndarray, b: np.ndarray) -> float | None:
    """Kendall's tau-b of two members over the responses to one prompt; None where either ranks nothing."""
    tau = float(kendall(a[None, :], b[None, :])[0])
    return None if np.isnan(tau) else tau


def krippendorff(values: np.ndarray) -> float | None:
    """Krippendorff's alpha, interval metric (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    One minus observed over expected disagreement, both mean squared differences: within units, and between any two
    values whatever their unit.

    Args:
        values: shape (units, observers), NaN where missing; units with fewer than two values do not count.

    Returns:
        At most 1; None where there is nothing to compare, or all values are the same.
    """
    counts = np.isfinite(values).sum(axis=1)
    values, counts = values[counts > 1], counts[counts > 1]
    if not len(values):
        return None
    mean = np.nansum(values, axis=1) / counts
    within = np.nansum((values - mean[:, None]) ** 2, axis=1)
    total = float(counts.sum())
    observed = float((2 * within * counts / (counts - 1)).sum()) / total
    pooled = values[np.isfinite(values)]
    expected = 2 * float(((pooled - pooled.mean()) ** 2).sum()) / (total - 1)
    return 1 - observed / expected if expected > 0 else None
