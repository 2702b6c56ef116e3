"""Is a scorer any good? Scorers measured against human labels, side by side."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import Example, Layout, columns, notebook, number, read_paths
from hf_datamap.data.dataset import find_layout
from hf_datamap.data.decode import decoded
from hf_datamap.data.statistics import pooled_correlation, wilson_interval
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import Score
from hf_datamap.errors import MapError, RowError
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scoring.score_table import (
    columns_of,
    prepare,
    read_examples,
    score_inline,
)

if TYPE_CHECKING:
    from datasets import Dataset

_Row = Example | RowError
_Z: Final = 1.959964  # standard errors of a 95 % interval


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often a scorer prefers what people prefer.

    Attributes:
        pairs: pairs of responses to one prompt that people rank and the scorer scored.
        ties: those among them to which the scorer gave the same score; each counts one half.
        value: share in which it prefers the response that people prefer, None without pairs.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    pairs: int
    ties: int
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{100 * self.value:.1f} [{100 * self.low:.0f}-{100 * self.high:.0f}]"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One scorer against human labels.

    Attributes:
        scorer: short name.
        identity: what its scores depend on.
        accuracy: over all labelled pairs.
        subsets: the same by subset, where a column was named.
        coverage: share of responses that it scored.
        failed: responses without a score, by kind of reason.
        length: correlation of its scores with the responses' length in characters, within prompts; None where either
            never varies.
        longer: share of pairs in which it prefers the longer response, ties one half.
        swap: share of labelled pairs in which it holds on to its preference when it sees the responses the other way
            round; None when it was not tried.
        usage: what it took.
    """

    scorer: str
    identity: Mapping[str, Any]
    accuracy: Accuracy
    subsets: Mapping[str, Accuracy]
    coverage: float
    failed: Mapping[str, int]
    length: float | None
    longer: float | None
    swap: float | None
    usage: Mapping[str, Any]

    def cells(self, subsets: Sequence[str]) -> list[str]:
        """The entry as a row of a table, with these subsets."""
        accuracy, ties = str(self.accuracy), f"{self.accuracy.ties:,}"
        rest = [_percent(self.coverage), _number(self.length), _percent(self.longer), _percent(self.swap)]
        return [_cell(self.scorer), accuracy, ties, *rest, *(str(self.subsets.get(name, "-")) for name in subsets)]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Scorers side by side, on the same labelled data.

    Attributes:
        rows: rows with labels.
        unread: rows that could not be read, or in which people rank nothing.
        pairs: pairs of responses that people rank.
        undecided: pairs that people call equal; they are left out.
        longest: accuracy of preferring the longer response: what a scorer must beat.
        length: correlation of human labels with length, within prompts; None where either never varies.
        scorers: one entry each, in the order given.
    """

    rows: int
    unread: int
    pairs: int
    undecided: int
    longest: Accuracy
    length: float | None
    scorers: tuple[Calibration, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        out: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return out

    def _repr_html_(self) -> str:
        """Return the report as a table for notebooks."""
        header = ("scorer", "accuracy", "ties", "coverage", "length r", "longer", "swap")
        rows = [entry.cells(()) for entry in self.scorers]
        title = f"{self.rows:,} labelled rows, {self.pairs:,} pairs that people rank"
        return notebook.table(title, header, rows, notes=[f"the longer response: {self.longest}"])

    def to_markdown(self) -> str:
        """A table of the scorers, and what it rests on."""
        names = list(dict.fromkeys(name for entry in self.scorers for name in entry.subsets))
        head = ["scorer", "accuracy %", "ties", "coverage %", "length r", "longer %", "swap %", *names]
        lines = [
            f"{self.rows:,} labelled rows, {self.pairs:,} pairs that people rank; {self.undecided:,} pairs that they "
            f"call equal are left out, {self.unread:,} rows rank nothing. Accuracy: share of pairs ranked as people "
            "do, a tie counts one half; 95 % interval over rows. Length r: correlation of score and characters within "
            "prompts. Longer: share of pairs in which the longer response is preferred. Swap: share of pairs in which "
            "the preference stays when the responses are shown the other way round.",
            "",
            _row(head),
            _row(["---"] * len(head)),
            *(_row(entry.cells(names)) for entry in self.scorers),
            _row(["longer response", str(self.longest), "", "", "", "100.0", "", *[""] * len(names)]),
            _row(["people", "", "", "", _number(self.length), _percent(self.longest.value), "", *[""] * len(names)]),
        ]
        for entry in self.scorers:
            if entry.failed:
                reasons = "; ".join(f"{count:,} {_cell(reason)}" for reason, count in entry.failed.items())
                lines += ["", f"{_cell(entry.scorer)} gave no score to: {reasons}"]
        return "\n".join(lines)

    __str__ = to_markdown


def calibration_report(
    scorers: ScorerLike | Sequence[ScorerLike] | Mapping[str, ScorerLike],
    ds: Dataset,
    *,
    layout: Layout | None = None,
    by: str | None = None,
    swap: bool = True,
    budget: Budget | None = None,
    progress: Callable[[Usage], None] | None = None,
) -> CalibrationReport:
    """Measure scorers against the human labels that a data set carries.

    Answers are bought and kept as in `annotate`; a scorer that has seen the data before costs nothing.

    Args:
        scorers: one scorer, several, or several by name.
        ds: data with human preferences or ratings, in any layout that has annotations.
        layout: where prompt, responses and labels are; detected from the columns by default.
        by: a column; accuracy is also given for each of its values.
        swap: whether to look how scorers take the responses the other way round. Costs nothing for scorers that see one
            response at a time, and doubles the requests of a listwise judge.
        budget: what each scorer may spend.
        progress: called now and then with what the present scorer has spent.

    Raises:
        LayoutError: the columns fit no layout, or several.
        MapError: there is no label, or no column ``by``.
        ScorerError: a scorer cannot work at all.
    """
    named = _named(scorers)
    images = all(scorer.takes_images for scorer in named.values())
    layout = layout or find_layout(ds, images=images)
    if by is not None and by not in ds.column_names:
        raise MapError(f"there is no column {by!r} among {', '.join(ds.column_names)}")
    data = _Labelled(ds, layout, by)
    show = progress or (lambda _: None)
    entries = []
    for name, scorer in named.items():
        try:
            entries.append(data.measure(name, scorer, swap=swap, budget=budget or Budget(), show=show))
        finally:
            scorer.release()
    differences = _pairs(data.labels)
    if data.undecided is not None:
        differences = np.where(data.undecided, 0.0, differences)
    return CalibrationReport(
        rows=len(data.labels),
        unread=len(ds) - len(data.labels),
        pairs=int((np.isfinite(differences) & (differences != 0)).sum()),
        undecided=int((differences == 0).sum()),
        longest=data.accuracy(data.lengths),
        length=_length_correlation(data.labels, data.lengths),
        scorers=tuple(entries),
    )


class _Labelled:
    """The rows of a data set in which people rank something, as arrays of shape (rows, responses)."""

    def __init__(self, ds: Dataset, layout: Layout, by: str | None) -> None:
        self.table, self.layout = ds.with_format("arrow")[:], layout
        read = layout.read_batch(self.table)
        kept = [i for i, row in enumerate(read) if isinstance(row, Example) and _ranks(row)]
        if not kept:
            raise MapError(f"no row carries a human label that layout {layout.name!r} can read ({layout.polarity})")
        self.table = self.table.take(pa.array(kept))
        self.labels = _matrix([row.annotations or () for row in read if isinstance(row, Example) and _ranks(row)])
        texts = [row.responses for row in read if isinstance(row, Example) and _ranks(row)]
        self.lengths = _matrix([[None if text is None else len(text) for text in row] for row in texts])
        self.undecided = self._undecided()
        self.groups = np.array([str(value) for value in self.table[by].to_pylist()]) if by else None

    def _undecided(self) -> np.ndarray | None:
        """Pairs on which people gave no verdict either way, shape (rows, pairs), where labels are verdicts on pairs.

        Shares of wins may differ on such a pair, because of the verdicts on others: that is no preference.
        """
        if self.layout.label != "pairwise":
            return None
        path = (self.layout.annotations or ("",))[0]
        width = self.labels.shape[1]
        undecided = np.zeros((len(self.labels), width * (width - 1) // 2), bool)
        places = {pair: place for place, pair in enumerate(combinations(range(width), 2))}
        for row, verdicts in enumerate(map(decoded, read_paths(self.table, (path,))[path])):
            count = (1 + math.isqrt(1 + 8 * len(verdicts or ()))) // 2  # responses that have so many pairs
            for pair, verdict in zip(combinations(range(count), 2), verdicts or (), strict=True):
                undecided[row, places[pair]] = number(verdict) == 0
        return undecided

    def accuracy(self, scores: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Accuracy:
        """How often scores rank two responses as people do, over some rows."""
        undecided = None if self.undecided is None else self.undecided[rows]
        return accuracy(scores[rows], self.labels[rows], undecided)

    def measure(
        self, name: str, scorer: Scorer, *, swap: bool, budget: Budget, show: Callable[[Usage], None]
    ) -> Calibration:
        """One scorer's entry."""
        usage = Usage()
        layout = scorer.read_with(self.layout)
        examples = read_examples(scorer, layout, self.table)
        if scorer.needs_fit:
            scorer = scorer.fitted(_outcomes(scorer.unfitted(), examples, budget, usage, show))
        failed: Counter[str] = Counter()
        if scorer.way is Way.COLUMNS:
            table = columns_of(scorer, self.table, layout)
            scores = columns.padded(table[columns.SCORES])
            failed.update(_without_number(table, np.isfinite(self.lengths).sum(axis=1)))
        else:
            outcomes = _outcomes(scorer, examples, budget, usage, show)
            failed.update(kind_of(score.error) for row in outcomes for score in row if score.value is None)
            scores = _matrix([[score.value for score in row] for row in outcomes])
        scores = _fitting(scores, self.labels)
        groups = self.groups if self.groups is not None else np.array([])
        return Calibration(
            scorer=name,
            identity=dict(scorer.identity),
            accuracy=self.accuracy(scores),
            subsets={str(group): self.accuracy(scores, groups == group) for group in np.unique(groups)},
            coverage=float(np.isfinite(scores).sum() / max(1, np.isfinite(self.lengths).sum())),
            failed=dict(failed.most_common()),
            length=_length_correlation(scores, self.lengths),
            longer=accuracy(scores, np.where(np.isfinite(scores), self.lengths, np.nan)).value,
            swap=None if not swap or scorer.way is Way.COLUMNS else self._swap(scorer, scores, examples, budget),
            usage=usage.summary(budget.prices),
        )

    def _swap(self, scorer: Scorer, scores: np.ndarray, examples: list[_Row], budget: Budget) -> float | None:
        """Share of labelled pairs that a scorer ranks the same way when it sees the responses the other way round.

        Of pairs that it ranks at least one way round: who sees no difference has no preference that could be held.
        """
        other = scorer.swapped() or scorer
        turned = [_turned(row) if isinstance(row, Example) else row for row in examples]
        outcomes = _outcomes(other, turned, budget, Usage(), lambda _: None)
        again = _fitting(_matrix([[score.value for score in row[::-1]] for row in outcomes]), self.labels)
        first, second, ranked = _pairs(scores), _pairs(again), _pairs(self.labels)
        seen = np.isfinite(first) & np.isfinite(second) & np.isfinite(ranked) & (ranked != 0)
        seen &= (first != 0) | (second != 0)
        return float((np.sign(first) == np.sign(second))[seen].mean()) if seen.any() else None


def _turned(row: Example) -> Example:
    """A row with its responses the other way round, and what was read beside them."""
    beside = {name: list(values)[::-1] for name, values in row.scores.items() if values is not None}
    return replace(row, responses=row.responses[::-1], scores=beside)


def _without_number(table: pa.Table, responses: np.ndarray) -> Iterator[str]:
    """The reason for each response that has no score in a column."""
    missing = responses - np.isfinite(columns.padded(table[columns.SCORES])).sum(axis=1)
    for error, count in zip(table[columns.ERROR].to_pylist(), missing.tolist(), strict=True):
        yield from [kind_of(re.sub(r"^response [\d, ]+: ", "", error or "no number"))] * max(0, count)


def _outcomes(
    scorer: Scorer, examples: list[_Row], budget: Budget, usage: Usage, show: Callable[[Usage], None]
) -> list[list[Score]]:
    """A scorer's scores of every row, none for one that it cannot read."""
    if scorer.way is Way.INLINE:
        outcomes = [score_inline(scorer, example) for example in examples]
    else:
        outcomes, run = prepare(scorer, examples, budget=budget, usage=usage)
        engine().run(run, lambda: show(usage))
    return [[] if isinstance(row, RowError) else row for row in outcomes]


def accuracy(scores: np.ndarray, labels: np.ndarray, undecided: np.ndarray | None = None) -> Accuracy:
    """How often scores rank two responses to a prompt as labels do; a tie of scores counts one half.

    The interval is Wilson's, at the number of independent pairs that would have the same standard error as the share
    over rows: pairs of one row hang together (ours; the usual linearised variance of a ratio over clusters).

    Args:
        scores: shape (rows, responses), NaN where missing.
        labels: the same shape; pairs that are equal there are left out.
        undecided: further pairs to leave out, shape (rows, pairs) in the order of `itertools.combinations`.
    """
    label_gaps, score_gaps = _pairs(labels), _pairs(scores)
    decided = np.isfinite(label_gaps) & (label_gaps != 0) & np.isfinite(score_gaps)
    if undecided is not None:
        decided &= ~undecided
    hit = np.where(score_gaps == 0, 0.5, np.sign(score_gaps) == np.sign(label_gaps)) * decided
    per_row, hits = decided.sum(axis=1), hit.sum(axis=1)
    total, rows = int(per_row.sum()), int((per_row > 0).sum())
    ties = int(((score_gaps == 0) & decided).sum())
    if not total:
        return Accuracy(0, 0, None, None, None)
    share = float(hits.sum()) / total
    spread = float(((hits - share * per_row) ** 2).sum()) * rows / max(1, rows - 1) / total**2
    independent = share * (1 - share) / spread if spread > 0 else float(rows)
    low, high = wilson_interval(share, min(independent, float(total)), _Z)
    return Accuracy(total, ties, share, low, high)


def _pairs(values: np.ndarray) -> np.ndarray:
    """Differences of every two responses of a row, shape (rows, pairs), NaN where one is missing."""
    some = [values[:, i] - values[:, j] for i, j in combinations(range(values.shape[1]), 2)]
    return np.stack(some, axis=1) if some else np.empty((len(values), 0))


def _length_correlation(values: np.ndarray, lengths: np.ndarray) -> float | None:
    correlation = pooled_correlation(values, lengths)
    return None if np.isnan(correlation) else correlation


def _ranks(example: Example) -> bool:
    known = {label for label in example.annotations or () if label is not None}
    labelled = sum(label is not None for label in example.annotations or ())
    return bool(known) and labelled > 1


def _matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return columns.padded(pa.array([list(row) for row in rows], pa.list_(pa.float64())))


def _fitting(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores in the shape of the labels, as float32 like the published column."""
    fitted = np.full(labels.shape, np.nan)
    width = min(scores.shape[1], labels.shape[1])
    fitted[:, :width] = scores[:, :width].astype(np.float32)
    return fitted


def _named(scorers: ScorerLike | Sequence[ScorerLike] | Mapping[str, ScorerLike]) -> dict[str, Scorer]:
    """Scorers by name: kind, model and whatever else sets them apart, numbered where that is nothing."""
    if isinstance(scorers, Mapping):
        return {name: as_scorer(scorer) for name, scorer in scorers.items()}
    named: dict[str, Scorer] = {}
    several: list[Any] = list(scorers) if isinstance(scorers, Sequence) else [scorers]
    for scorer in map(as_scorer, several):
        identity = scorer.identity
        words = [str(identity[key]) for key in ("kind", "model", "path") if identity.get(key)]
        if identity.get("rubric") not in (None, "helpfulness"):
            words.append(str(identity["rubric"]))
        if str(identity.get("prompt", "")).startswith("listwise"):
            words.append("listwise")
        name = " ".join(words) or scorer.name
        known = sum(other == name or other.startswith(f"{name} #") for other in named)
        named[f"{name} #{known + 1}" if known else name] = scorer
    return named


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
