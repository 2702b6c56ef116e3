"""Preference pairs for TRL from N scored responses, with the contrast, quality and counts an experiment wants."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from hf_datamap.curate.pair_candidates import (
    Candidates,
    Contrast,
    Pairing,
    by_contrast,
    candidates,
    capped,
    nth,
    of_quality,
)
from hf_datamap.data import columns
from hf_datamap.data.dataset import with_columns
from hf_datamap.data.example import Example
from hf_datamap.data.statistics import rank_shares
from hf_datamap.data.view import DatasetView
from hf_datamap.engine.config import __version__
from hf_datamap.errors import PairError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data.example import Message
    from hf_datamap.data.layout import Layout

Tokenize: TypeAlias = Callable[[str], list[Any]]

_TOKEN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w+|[^\w\s]")
_MESSAGES: Final = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

#: The columns that every pair gets, in order.
ATTRIBUTES: Final = pa.schema(
    [
        ("margin", pa.float32()),
        ("shared_prefix_tokens", pa.int32()),
        ("shared_prefix_ratio", pa.float32()),
        ("chosen_score", pa.float32()),
        ("rejected_score", pa.float32()),
        ("difficulty", pa.float32()),
    ]
)
_ORIGIN: Final = [("constraints", pa.int32()), ("source_row", pa.int64())]


def to_pairs(
    ds: Dataset | DatasetDict,
    contrast: Contrast | None = None,
    *,
    pairing: Pairing | None = None,
    labels: Literal["auto", "data", "scores"] = "auto",
    quality: Literal["high", "low"] | None = None,
    per_prompt: int | None = None,
    conversational: bool | None = None,
    tokenizer: Any = None,  # noqa: ANN401 - anything with a tokenize method, or a function
    seed: int = 0,
    layout: Layout | None = None,
) -> Dataset:
    """Build preference pairs: ``prompt``, ``chosen``, ``rejected`` as TRL takes them, and `ATTRIBUTES` for each.

    Example:
        >>> arms = {c: dm.to_pairs(ds, contrast=c, per_prompt=4) for c in ("high", "low")}  # doctest: +SKIP
        >>> arms = dm.equal_arms(arms)  # the same prompts, as many pairs of each  # doctest: +SKIP

    Args:
        ds: a dataset with several responses per row, scored or annotated.
        contrast: which margins to take. ``high`` and ``low``: on rows with constraints and scores that are shares of
            them met, c = k with r <= k - 2, and c - r = 1, in counts (2412.15282, our reading); elsewhere the top and
            the bottom third of positive margins. ``mixed``: half of each. ``(c, r)``: exactly these counts.
        pairing: ``all`` pairs with different labels (as the Alignment Data Map does); ``best_worst``; ``best_sweet``:
            best against the response nearest to mean minus two standard deviations (sweet spot, ACL 2025). None means
            ``all`` with a contrast, else ``best_worst``.
        labels: what says which response is better: ``data`` (annotations), ``scores``, or ``auto``: the data where they
            have annotations.
        quality: only pairs whose chosen score is in the upper (``high``) or lower half, apart from contrast.
        per_prompt: at most so many pairs of a row, drawn by seed; None means one with a contrast, else no limit.
        conversational: messages instead of texts; None keeps texts when the prompts are single texts.
        tokenizer: for shared prefixes: anything with ``tokenize(text)``, or a function from text to tokens. Words and
            punctuation marks by default.
        seed: of every draw.
        layout: how to read the dataset; None detects it.

    Returns:
        The pairs; ties, missing and equal texts are left out. `provenance` says how they were built. ``source_row`` is
        the row a pair came from, ``constraints`` the number of constraints of its prompt (null without any).

    Raises:
        PairError: no labels and no scores, an option that is unknown or does not fit, or no eligible pair.
    """
    # Long: most of it documents the options.
    view = DatasetView(ds, layout)
    if view.layout is None:
        raise PairError(f"the dataset cannot be read: {view.layout_error}")
    values, truth, used = _values(view, labels)
    pairing = pairing or ("all" if contrast is not None else "best_worst")
    found = candidates(values, truth, pairing)
    rng, among = np.random.default_rng(seed), of_quality(found, quality)
    if contrast is None:
        found = found.keep(np.flatnonzero(among))
    else:
        found = by_contrast(found, contrast, among, view.constraint_counts, rng)
    limit = per_prompt if per_prompt is not None else 1 if contrast is not None else None
    if limit is not None:
        found = capped(found, limit, rng)
    if not len(found.row):
        raise PairError(
            f"no pair is eligible (contrast {contrast}, pairing {pairing}, quality {quality}, labels {used})"
        )
    table = _table(view, found, tokenize_with(tokenizer), conversational)
    from datasets import Dataset

    pairs = Dataset(table)
    told = {
        "contrast": contrast,
        "pairing": pairing,
        "labels": used,
        "quality": quality,
        "per_prompt": limit,
        "seed": seed,
    }
    told |= {"pairs": len(pairs), "of_rows": view.rows, "version": __version__}
    pairs.info.description = json.dumps({"hf_datamap_pairs": told})
    return pairs


def provenance(pairs: Dataset) -> dict[str, Any] | None:
    """How pairs were built, None when the dataset does not say."""
    try:
        return dict(json.loads(pairs.info.description or "")["hf_datamap_pairs"])
    except (ValueError, KeyError, TypeError):
        return None


def equal_arms(arms: Mapping[str, Dataset], *, seed: int = 0) -> dict[str, Dataset]:
    """Cut arms of an experiment down to the same prompts with equally many pairs of each: like compared with like.

    Args:
        arms: pairs by `to_pairs`, from the same dataset.
        seed: of the draw among a prompt's pairs.

    Raises:
        PairError: an arm lacks ``source_row``, or no prompt is in all arms.
    """
    counts: list[dict[int, int]] = []
    for name, arm in arms.items():
        if "source_row" not in arm.column_names:
            raise PairError(f"the arm {name!r} has no column source_row; build it with to_pairs")
        rows, sizes = np.unique(np.asarray(arm["source_row"]), return_counts=True)
        counts.append(dict(zip(rows.tolist(), sizes.tolist(), strict=True)))
    shared = sorted(set.intersection(*(set(count) for count in counts))) if counts else []
    if not shared:
        raise PairError(
            f"no prompt is in all arms ({', '.join(arms)}); loosen a contrast or raise the number of responses"
        )
    least = {row: min(count[row] for count in counts) for row in shared}
    out = {}
    for name, arm in arms.items():
        rows = np.asarray(arm["source_row"])
        order = np.lexsort((np.random.default_rng(seed).random(len(rows)), rows))
        wanted = np.array([least.get(int(row), 0) for row in rows[order]])
        out[name] = arm.select(np.sort(order[nth(rows[order]) < wanted]))
    return out


def pair_attributes(
    ds: Dataset | DatasetDict,
    *,
    prefix: str = "",
    tokenizer: Any = None,  # noqa: ANN401 - as in to_pairs
    layout: Layout | None = None,
) -> Dataset | DatasetDict:
    """Add `ATTRIBUTES` to a dataset of pairs.

    Scores are ``datamap_scores``, or those that ship with the data; without either the columns of scores are null. The
    preferred response is the one the annotation prefers.

    Args:
        ds: rows with two responses each.
        prefix: put before the names of the columns.
        tokenizer: as in `to_pairs`.
        layout: how to read the dataset; None detects it.

    Raises:
        PairError: it cannot be read, has rows with more than two responses, or has columns of these names already.
    """
    from datasets import DatasetDict

    view = DatasetView(ds, layout)
    if view.layout is None:
        raise PairError(f"the dataset cannot be read: {view.layout_error}")
    schema = pa.schema([(prefix + field.name, field.type) for field in ATTRIBUTES])
    if taken := [name for name in schema.names if name in view.names]:
        raise PairError(f"there are columns {', '.join(taken)} already; give a prefix, like prefix='pair_'")
    scores = view.scores if view.scores is not None else view.own_scores
    labels = view.annotations if view.annotations is not None else view.order
    for name, matrix in (("scores", scores), ("annotations", labels)):
        if matrix is not None and matrix.shape[1] > 2:
            raise PairError(f"rows have up to {matrix.shape[1]} {name}, not two: build pairs with to_pairs first")
    none = np.full((view.rows, 2), np.nan)
    scores, labels = none if scores is None else scores, none if labels is None else labels
    second = labels[:, 1] > labels[:, 0]
    rows = np.arange(view.rows)
    chosen, rejected = np.where(second, 1, 0), np.where(second, 0, 1)
    found = Candidates(rows, chosen, rejected, scores[rows, chosen], scores[rows, rejected])
    told = _attributes(found, difficulties(scores), _prefixes(view, found, tokenize_with(tokenizer)))
    table = pa.table([told[field.name] for field in ATTRIBUTES], schema=schema)
    parts = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    done = {}
    for (name, part), first in zip(parts.items(), view.starts, strict=False):
        piece = table.slice(int(first), len(part)).combine_chunks()
        content = (column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in piece.columns)
        done[name] = with_columns(part, piece, b"".join(values.tobytes() for values in content))
    return DatasetDict(done) if isinstance(ds, DatasetDict) else done[""]


def shared_prefix(one: str, two: str, tokenize: Tokenize) -> tuple[int, float]:
    """How many tokens two texts begin with in common, and that over the length of the shorter (0 when it is empty)."""
    first, second = tokenize(one), tokenize(two)
    shorter = min(len(first), len(second))
    shared = next((k for k in range(shorter) if first[k] != second[k]), shorter)
    return shared, shared / shorter if shorter else 0.0


def _values(view: DatasetView, labels: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Scores that measure margins, values that order responses, and which of the two the latter are."""
    if labels not in {"auto", "data", "scores"}:
        raise PairError(f"labels must be 'auto', 'data' or 'scores', not {labels!r}")
    scores = view.scores if view.scores is not None else view.own_scores
    data = view.annotations if view.annotations is not None else view.order
    used = labels if labels != "auto" else "data" if data is not None else "scores"
    truth = data if used == "data" else scores
    if truth is None:
        what = "annotations" if used == "data" else "scores"
        raise PairError(
            f"the dataset has no {what} to order responses by: score it first (dm.annotate), or give a layout"
        )
    values = truth if scores is None else scores
    width = max(values.shape[1], truth.shape[1])
    return _wide(values, width), _wide(truth, width), used


def _wide(matrix: np.ndarray, width: int) -> np.ndarray:
    return np.pad(matrix.astype(float), ((0, 0), (0, width - matrix.shape[1])), constant_values=np.nan)


def difficulties(scores: np.ndarray) -> np.ndarray:
    """1 minus the rank of each row's mean score: 0 for the row with the highest mean, 1 for the lowest (ours)."""
    return 1 - rank_shares(columns.moments(scores)[0])


def tokenize_with(tokenizer: Any) -> Tokenize:  # noqa: ANN401
    """The function from text to tokens that a tokenizer (as in `to_pairs`) stands for.

    Raises:
        PairError: it stands for none.
    """
    once = lru_cache(maxsize=64)  # a response stands in several pairs of its row
    if tokenizer is None:
        return once(_TOKEN.findall)
    if hasattr(tokenizer, "tokenize"):
        return once(tokenizer.tokenize)
    if callable(tokenizer):
        return once(tokenizer)
    raise PairError(
        f"a tokenizer has a tokenize method or is a function from text to tokens, not {type(tokenizer).__name__}"
    )


def _attributes(
    found: Candidates, difficulty: np.ndarray, prefixes: list[tuple[int, float] | None]
) -> dict[str, pa.Array]:
    return {
        "margin": columns.nullable(found.margin),
        "shared_prefix_tokens": pa.array([None if p is None else p[0] for p in prefixes], pa.int32()),
        "shared_prefix_ratio": pa.array([None if p is None else p[1] for p in prefixes], pa.float32()),
        "chosen_score": columns.nullable(found.chosen_score),
        "rejected_score": columns.nullable(found.rejected_score),
        "difficulty": columns.nullable(difficulty[found.row]),
    }


def _prefixes(view: DatasetView, found: Candidates, tokenize: Tokenize) -> list[tuple[int, float] | None]:
    """Shared prefixes of candidates with one pair per row; None where a text is missing."""
    told: list[tuple[int, float] | None] = []
    for place, (_, example) in enumerate(view.examples(found.row)):
        responses = example.responses if isinstance(example, Example) else []
        if len(responses) > 2:
            raise PairError(
                f"row {found.row[place]} has {len(responses)} responses, not two: build pairs with to_pairs first"
            )
        one, two = responses if len(responses) == 2 else (None, None)
        told.append(None if one is None or two is None else shared_prefix(one, two, tokenize))
    return told


def _table(view: DatasetView, found: Candidates, tokenize: Tokenize, conversational: bool | None) -> pa.Table:
    """The pairs with their texts."""
    items = list(_with_texts(view, found))
    if conversational is None:
        conversational = not _plain(view, items)
    index = np.array([item[0] for item in items], np.int64)
    mine = found.keep(index)
    told = _attributes(mine, difficulties(_scores(view)), [shared_prefix(*item[2:], tokenize) for item in items])
    kind = _MESSAGES if conversational else pa.string()
    prompts = [list(item[1]) if conversational else item[1][0]["content"] for item in items]
    told["prompt"] = pa.array(prompts, kind)
    for name, place in (("chosen", 2), ("rejected", 3)):
        texts = [item[place] for item in items]
        told[name] = pa.array([[{"role": "assistant", "content": t}] for t in texts] if conversational else texts, kind)
    counts = view.constraint_counts
    told["constraints"] = pa.array(counts[mine.row] if counts is not None else [None] * len(index), pa.int32())
    told["source_row"] = pa.array(mine.row, pa.int64())
    schema = pa.schema([("prompt", kind), ("chosen", kind), ("rejected", kind), *ATTRIBUTES, *_ORIGIN])
    return pa.table([told[field.name] for field in schema], schema=schema)


def _scores(view: DatasetView) -> np.ndarray:
    scores = view.scores if view.scores is not None else view.own_scores
    return np.full((view.rows, 1), np.nan) if scores is None else scores


_Item: TypeAlias = "tuple[int, tuple[Message, ...], str, str]"


def _with_texts(view: DatasetView, found: Candidates) -> Iterator[_Item]:
    """Index of a candidate, its prompt and both texts; those with missing or equal texts are left out."""
    starts = np.searchsorted(found.row, np.unique(found.row))
    ends = np.append(starts[1:], len(found.row))
    for (_, example), start, end in zip(view.examples(found.row[starts]), starts, ends, strict=True):
        if not isinstance(example, Example):
            continue
        for k in range(start, end):
            texts = [
                example.responses[p] if p < len(example.responses) else None
                for p in (found.chosen[k], found.rejected[k])
            ]
            if texts[0] and texts[1] and texts[0].strip() != texts[1].strip():
                yield int(k), example.prompt, texts[0], texts[1]


def _plain(view: DatasetView, items: Sequence[_Item]) -> bool:
    """Whether every prompt is one text of the user that stands as a text in the data."""
    paths = view.layout.prompt or () if view.layout else ()
    sources = [view.column(path) for path in paths]
    if not sources or any(column is None or pa.types.is_nested(column.type) for column in sources):
        return False
    return all(len(prompt) == 1 and prompt[0]["role"] == "user" for _, prompt, _, _ in items)
