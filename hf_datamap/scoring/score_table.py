"""Scores of rows as Arrow columns, in the types of the contract."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.data import EACH, Example, Layout, columns, parse_path
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.run import SKIPPED_MARK, Run
from hf_datamap.engine.task import Score
from hf_datamap.errors import RowError
from hf_datamap.scorers.base import Scorer

log = logging.getLogger(__name__)

Outcome = list[Score] | RowError


def read_examples(
    scorer: Scorer,
    layout: Layout,
    batch: Any,  # noqa: ANN401 - what `Layout.read_batch` takes
    table: Callable[[], pa.Table] | None = None,
) -> list[Example | RowError]:
    """Read a batch of rows as a scorer wants them: with the scores that members of a panel find in columns.

    Args:
        scorer: the scorer.
        layout: its layout (`Scorer.read_with`).
        batch: the rows, as `Layout.read_batch` takes them.
        table: gives the same rows in Arrow, asked only when they are needed; ``batch`` is a table when left out.
    """
    rows = layout.read_batch(batch)
    if (
        layout.multimodal
        and not scorer.takes_images
        and any(isinstance(row, Example) and row.has_images for row in rows)
    ):
        _warn_of_images(scorer.name)
    members = scorer.column_members
    if not members:
        return rows
    rows_as_table = table() if table else batch
    scores = {name: member.score_table(rows_as_table, layout).to_pylist() for name, member in members.items()}
    return [
        replace(row, scores={name: scores[name][place] for name in scores}) if isinstance(row, Example) else row
        for place, row in enumerate(rows)
    ]


@functools.lru_cache(maxsize=64)  # said once for each scorer
def _warn_of_images(name: str) -> None:
    log.warning(
        "%s judges without the images of the prompts: vision=True shows them, text_only=True says so be it", name
    )


def score_inline(scorer: Scorer, example: Example | RowError) -> Outcome:
    """Score an example in this thread; a row that could not be read keeps its error."""
    return example if isinstance(example, RowError) else scorer.score_inline(example)


def prepare(
    scorer: Scorer,
    examples: Iterable[Example | RowError],
    *,
    budget: Budget | None = None,
    usage: Usage | None = None,
) -> tuple[list[Outcome], Run]:
    """Return a run of the engine over the readable examples, and the list that it fills.

    The list grows as examples are read; rows that cannot be read hold their error.
    """
    outcomes: list[Outcome] = []
    places: list[int] = []

    def readable() -> Iterator[Example]:
        for example in examples:
            if isinstance(example, RowError):
                outcomes.append(example)
            else:
                places.append(len(outcomes))
                outcomes.append([Score(None, "not scored")] * len(example.responses))
                yield example

    def deliver(index: int, scores: list[Score]) -> None:
        outcomes[places[index]] = scores

    return outcomes, Run(scorer, readable(), deliver, budget or Budget(), usage or Usage())


def schema_of(scorer: Scorer) -> pa.Schema:
    """The columns that a scorer adds: those of the contract, and what was asked for beside them.

    `Scorer.rationales` adds ``datamap_rationales``, each of `Scorer.part_names` adds ``datamap_scores_NAME``.
    """
    schema = columns.SCORE_SCHEMA
    if scorer.rationales:
        schema = schema.append(pa.field(columns.RATIONALES, pa.list_(pa.string())))
    for name in scorer.part_names:
        schema = schema.append(pa.field(f"{columns.SCORES}_{name}", pa.list_(pa.float32())))
    return schema


def table_of(outcomes: Sequence[Outcome], scorer: Scorer) -> pa.Table:
    """Return the columns of scored rows, in the fixed types of `schema_of`."""
    table = _scores_of(outcomes)
    scored = [[] if isinstance(outcome, RowError) else outcome for outcome in outcomes]
    more: list[list[list[Any]]] = []
    if scorer.rationales:
        more.append([[_storable(score.rationale) for score in scores] for scores in scored])
    more += [
        [[_part_value(score, place) for score in scores] for scores in scored]
        for place in range(len(scorer.part_names))
    ]
    for field, values in zip(list(schema_of(scorer))[len(columns.SCORE_SCHEMA) :], more, strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    return table


def _part_value(score: Score, place: int) -> float | None:
    """One of the scores that a score is made of, as a float32 column holds it."""
    value = score.parts[place].value if score.parts else None
    return value if value is not None and abs(value) <= columns.LARGEST_FLOAT else None


def _storable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


def _scores_of(outcomes: Sequence[Outcome]) -> pa.Table:
    width = max((len(outcome) for outcome in outcomes if not isinstance(outcome, RowError)), default=0)
    values = np.full((len(outcomes), width), np.nan)
    noise = np.full(len(outcomes), np.nan)
    lengths = np.zeros(len(outcomes), np.int64)
    errors: dict[int, str] = {}
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, RowError):
            errors[row] = str(outcome)
            continue
        lengths[row] = len(outcome)
        values[row, : len(outcome)] = [np.nan if score.value is None else score.value for score in outcome]
        known = [score.noise for score in outcome if score.value is not None and score.noise is not None]
        noise[row] = sum(known) / len(known) if known else np.nan
        if reasons := _missing_scores(outcome):
            errors[row] = reasons
    return _table(values, lengths, noise, errors)


def _missing_scores(outcome: list[Score]) -> str:
    """Why scores are missing or flawed: each reason once, with the responses (counted from 1) that it is for."""
    if all(score.value is not None and not score.error for score in outcome):
        return "" if outcome else "no responses"
    reasons: dict[str, list[str]] = {}
    for place, score in enumerate(outcome, 1):
        if score.value is None or score.error:
            reasons.setdefault(score.error, []).append(str(place))
    return "; ".join(f"response {', '.join(places)}: {reason}" for reason, places in reasons.items())


def columns_of(scorer: Scorer, table: pa.Table, layout: Layout | None) -> pa.Table:
    """Return the score columns of rows whose scores are there already, null where there is none."""
    lists = scorer.score_table(table, layout)
    responses = _response_counts(table, layout)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = columns.padded(lists)
    missing = (np.arange(values.shape[1]) < lengths[:, None]) & ~np.isfinite(values)
    errors: dict[int, str] = {}
    for row in np.flatnonzero(missing.any(axis=1) | (lengths == 0)).tolist():
        places = ", ".join(str(place + 1) for place in np.flatnonzero(missing[row]))
        errors[row] = f"response {places}: no number in the column" if places else "no scores in the column"
    if responses is not None:
        wrong = np.flatnonzero(responses != lengths)
        errors |= {
            row: f"{lengths[row]} scores for {responses[row]} responses" for row in wrong.tolist() if lengths[row]
        }
        if len(wrong):  # such a row has one null per response
            wider = max(0, int(responses.max()) - values.shape[1])
            values = np.pad(values, ((0, 0), (0, wider)), constant_values=np.nan)
            values[wrong] = np.nan
            lengths = responses.astype(np.int64)
    return _table(values, lengths, np.full(len(lengths), np.nan), errors)


def _response_counts(table: pa.Table, layout: Layout | None) -> np.ndarray | None:
    """How many responses each row has, where that can be told from one list column."""
    if layout is None or len(layout.responses) != 1:
        return None
    name, *steps = parse_path(layout.responses[0])
    if name not in table.column_names or (steps and steps[0] is not EACH):
        return None
    lists = table.column(str(name))
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        return None
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy())


def _table(values: np.ndarray, lengths: np.ndarray, noise: np.ndarray, errors: dict[int, str]) -> pa.Table:
    """The score columns; ``errors`` has the rows that have one."""
    too_large = np.abs(values) > columns.LARGEST_SCORE  # false for NaN
    if too_large.any():
        values, errors = np.where(too_large, np.nan, values), dict(errors)
        for row in np.flatnonzero(too_large.any(axis=1)).tolist():
            places = ", ".join(str(place + 1) for place in np.flatnonzero(too_large[row]))
            reason = f"response {places}: a score beyond {columns.LARGEST_SCORE:.2g}, whose variance no column holds"
            errors[row] = "; ".join(filter(None, [errors.get(row, ""), reason]))
    mean, variance = columns.moments(values)
    is_response = np.arange(values.shape[1]) < lengths[:, None]  # not padding
    valid = (np.isfinite(values) & is_response).sum(axis=1)
    codes = np.where(valid == lengths, 0, np.where(valid > 0, 1, 2))
    codes[lengths == 0] = 3
    error_texts = np.full(len(lengths), "", object)
    for row, error in errors.items():
        # It may repeat the words of an endpoint or a row: no lone surrogates in Arrow.
        error_texts[row] = error.encode("utf-8", "replace").decode()
        if codes[row] == 2 and SKIPPED_MARK in error:
            codes[row] = 3
        elif codes[row] == 0:  # scored, with something missing (a member of a panel)
            codes[row] = 1
    statuses = pa.array([columns.OK, columns.PARTIAL, columns.FAILED, columns.SKIPPED])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    scores = pa.ListArray.from_arrays(offsets, columns.nullable(values[is_response]))
    return pa.table(
        [
            scores,
            columns.nullable(mean),
            columns.nullable(variance),
            columns.nullable(noise),
            statuses.take(pa.array(codes)),
            pa.array(error_texts, pa.string()) if errors else pa.repeat("", len(lengths)),
        ],
        schema=columns.SCORE_SCHEMA,
    )


def with_labels(table: pa.Table, annotations: np.ndarray | None) -> pa.Table:
    """Add agreement and margin to score columns.

    Args:
        table: the score columns.
        annotations: shape (rows, responses), NaN where missing; None when there are none.
    """
    scores = columns.padded(table[columns.SCORES])
    if annotations is None:
        annotations = np.full((table.num_rows, 0), np.nan)
    width = max(scores.shape[1], annotations.shape[1])
    scores, annotations = (
        np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=np.nan)
        for matrix in (scores, annotations)
    )
    for name, values in (
        (columns.AGREEMENT, columns.agreement(scores, annotations)),
        (columns.MARGIN, columns.margin(scores, annotations)),
    ):
        table = table.append_column(name, columns.nullable(values))
    return table
