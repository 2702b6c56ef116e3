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
_CALIPER: Final = 0.2  # of a standard deviation
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
    rng = np.random.default_rng(seed)
    limit = per_prompt if per_prompt is not None else 1 if contrast is not None else None
    chosen_pairs = candidates(values, truth, pairing, drawn=limit, rng=rng)
    among = of_quality(chosen_pairs, quality)
    if contrast is None:
        chosen_pairs = chosen_pairs.keep(np.flatnonzero(among))
    else:
        chosen_pairs = by_contrast(chosen_pairs, contrast, among, view.constraint_counts, rng)
    if limit is not None:
        chosen_pairs = capped(chosen_pairs, limit, rng)
    if not len(chosen_pairs.row):
        raise PairError(
            f"no pair is eligible (contrast {contrast}, pairing {pairing}, quality {quality}, labels {used})"
        )
    table = _table(view, chosen_pairs, tokenize_with(tokenizer), conversational)
    from datasets import Dataset

    pairs = Dataset(table)
    record = {
        "contrast": contrast,
        "pairing": pairing,
        "labels": used,
        "quality": quality,
        "per_prompt": limit,
        "seed": seed,
    }
    record |= {"pairs": len(pairs), "of_rows": view.rows, "version": __version__}
    pairs.info.description = json.dumps({"hf_datamap_pairs": record})
    return pairs


def provenance(pairs: Dataset) -> dict[str, Any] | None:
    """How pairs were built, None when the dataset does not say."""
    try:
        return dict(json.loads(pairs.info.description or "")["hf_datamap_pairs"])
    except (ValueError, KeyError, TypeError):
        return None


def equal_arms(arms: Mapping[str, Dataset], *, seed: int = 0, match_quality: bool = False) -> dict[str, Dataset]:
    """Cut arms of an experiment down to the same prompts with equally many pairs of each: like compared with like.

    Args:
        arms: pairs by `to_pairs`, from the same dataset.
        seed: of the draw among a prompt's pairs.
        match_quality: whether every pair's chosen score must also be matched in the other arms, within a fifth of the
            standard deviation of all chosen scores (a usual caliper; Austin 2011): arms of high and low contrast
            otherwise differ in the quality of what is chosen, too.

    Raises:
        PairError: an arm lacks ``source_row``, or no prompt (or no matched pair) is in all arms.
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
    if match_quality:
        return _matched_arms(arms, shared)
    least = {row: min(count[row] for count in counts) for row in shared}
    equal = {}
    for name, arm in arms.items():
        rows = np.asarray(arm["source_row"])
        order = np.lexsort((np.random.default_rng(seed).random(len(rows)), rows))
        kept = np.array([least.get(int(row), 0) for row in rows[order]])
        equal[name] = arm.select(np.sort(order[nth(rows[order]) < kept]))
    return equal


def _matched_arms(arms: Mapping[str, Dataset], shared: Sequence[int]) -> dict[str, Dataset]:
    """Pairs of each shared prompt whose chosen scores lie close together in all arms, each used once."""
    scores = {name: np.asarray(arm["chosen_score"], dtype=float) for name, arm in arms.items()}
    caliper = _CALIPER * float(np.nanstd(np.concatenate(list(scores.values()))))
    places: dict[str, dict[int, list[int]]] = {}
    for name, arm in arms.items():
        places[name] = {}
        for place, row in enumerate(np.asarray(arm["source_row"]).tolist()):
            places[name].setdefault(row, []).append(place)
    kept: dict[str, set[int]] = {name: set() for name in arms}
    for row in shared:
        first, *others = sorted(arms, key=lambda name: len(places[name][row]))
        for place in places[first][row]:
            match = {first: place}
            for name in others:
                open_places = [p for p in places[name][row] if p not in kept[name]]
                nearest = min(open_places, key=lambda p: abs(scores[name][p] - scores[first][place]), default=None)
                if nearest is not None and abs(scores[name][nearest] - scores[first][place]) <= caliper:
                    match[name] = nearest
            if len(match) == len(arms):
                for name, matched in match.items():
                    kept[name].add(matched)
    if not any(kept.values()):
        raise PairError(
            f"no two pairs of one prompt have a like chosen score in all arms ({', '.join(arms)}): build them with a "
            "greater per_prompt, so that there is more to match"
        )
    return {name: arm.select(sorted(kept[name])) for name, arm in arms.items()}


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
    chosen_pairs = Candidates(rows, chosen, rejected, scores[rows, chosen], scores[rows, rejected])
    attributes = _attributes(
        chosen_pairs, difficulties(scores), _prefixes(view, chosen_pairs, tokenize_with(tokenizer))
    )
    table = pa.table([attributes[field.name] for field in ATTRIBUTES], schema=schema)
    parts = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    described = {}
    for (name, part), first in zip(parts.items(), view.starts, strict=False):
        piece = table.slice(int(first), len(part)).combine_chunks()
        content = (column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in piece.columns)
        described[name] = with_columns(part, piece, b"".join(values.tobytes() for values in content))
    return DatasetDict(described) if isinstance(ds, DatasetDict) else described[""]


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
    chosen_pairs: Candidates, difficulty: np.ndarray, prefixes: list[tuple[int, float] | None]
) -> dict[str, pa.Array]:
    return {
        "margin": columns.nullable(chosen_pairs.margin),
        "shared_prefix_tokens": pa.array([None if p is None else p[0] for p in prefixes], pa.int32()),
        "shared_prefix_ratio": pa.array([None if p is None else p[1] for p in prefixes], pa.float32()),
        "chosen_score": columns.nullable(chosen_pairs.chosen_score),
        "rejected_score": columns.nullable(chosen_pairs.rejected_score),
        "difficulty": columns.nullable(difficulty[chosen_pairs.row]),
    }


def _prefixes(view: DatasetView, chosen_pairs: Candidates, tokenize: Tokenize) -> list[tuple[int, float] | None]:
    """Shared prefixes of candidates with one pair per row; None where a text is missing."""
    prefixes: list[tuple[int, float] | None] = []
    for place, (_, example) in enumerate(view.examples(chosen_pairs.row)):
        responses = example.responses if isinstance(example, Example) else []
        if len(responses) > 2:
            raise PairError(
                f"row {chosen_pairs.row[place]} has {len(responses)} responses, not two: build pairs with to_pairs "
                "first"
            )
        one, two = responses if len(responses) == 2 else (None, None)
        prefixes.append(None if one is None or two is None else shared_prefix(one, two, tokenize))
    return prefixes


def _table(view: DatasetView, chosen_pairs: Candidates, tokenize: Tokenize, conversational: bool | None) -> pa.Table:
    """The pairs with their texts."""
    items = list(_with_texts(view, chosen_pairs))
    if conversational is None:
        conversational = not _plain(view, items)
    index = np.array([item[0] for item in items], np.int64)
    kept = chosen_pairs.keep(index)
    cells = _attributes(kept, difficulties(_scores(view)), [shared_prefix(*item[2:], tokenize) for item in items])
    kind = _MESSAGES if conversational else pa.string()
    prompts = [list(item[1]) if conversational else item[1][0]["content"] for item in items]
    cells["prompt"] = pa.array(prompts, kind)
    for name, place in (("chosen", 2), ("rejected", 3)):
        texts = [item[place] for item in items]
        cells[name] = pa.array(
            [[{"role": "assistant", "content": t}] for t in texts] if conversational else texts, kind
        )
    counts = view.constraint_counts
    cells["constraints"] = pa.array(counts[kept.row] if counts is not None else [None] * len(index), pa.int32())
    cells["source_row"] = pa.array(kept.row, pa.int64())
    schema = pa.schema([("prompt", kind), ("chosen", kind), ("rejected", kind), *ATTRIBUTES, *_ORIGIN])
    return pa.table([cells[field.name] for field in schema], schema=schema)


def _scores(view: DatasetView) -> np.ndarray:
    scores = view.scores if view.scores is not None else view.own_scores
    return np.full((view.rows, 1), np.nan) if scores is None else scores


_Item: TypeAlias = "tuple[int, tuple[Message, ...], str, str]"


def _with_texts(view: DatasetView, chosen_pairs: Candidates) -> Iterator[_Item]:
    """Index of a candidate, its prompt and both texts; those with missing or equal texts are left out."""
    starts = np.searchsorted(chosen_pairs.row, np.unique(chosen_pairs.row))
    ends = np.append(starts[1:], len(chosen_pairs.row))
    for (_, example), start, end in zip(view.examples(chosen_pairs.row[starts]), starts, ends, strict=True):
        if not isinstance(example, Example):
            continue
        for k in range(start, end):
            texts = [
                example.responses[p] if p < len(example.responses) else None
                for p in (chosen_pairs.chosen[k], chosen_pairs.rejected[k])
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
