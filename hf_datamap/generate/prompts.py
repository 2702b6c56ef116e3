"""`prompts`: prompts with verifiable constraints, in IFEval's own layout (after Kim et al. 2025, arXiv 2412.15282)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.errors import GenerateError
from hf_datamap.generate.arguments import as_columns, draw_arguments
from hf_datamap.generate.base_prompts import BasePrompt, Embed, drop_near_duplicates, recombine
from hf_datamap.generate.constraint_sets import balance_of, draw_sets
from hf_datamap.generate.draft import Draft
from hf_datamap.generate.model_writer import Writer
from hf_datamap.generate.reference_response import find_reference_response
from hf_datamap.generate.seed_prompts import bundled_seeds, read_seeds
from hf_datamap.generate.templates import write_prompt

if TYPE_CHECKING:
    from datasets import Dataset, Features

_MAX_TRIES: Final = 60
_NO_COMMA: Final = "punctuation:no_comma"
_REPEAT_PROMPT: Final = "combination:repeat_prompt"


def prompts(
    n: int = 48_000,
    *,
    k: Sequence[int] = (4, 5, 6),
    seed: int = 0,
    seeds: Dataset | None = None,
    bases: int | None = None,
    similarity: float = 0.75,
    embed: Embed | None = None,
    loner_share: float | None = None,
    witness: bool = False,
    writer: Writer | None = None,
) -> Dataset:
    """Make prompts with ``k`` verifiable constraints each; without a network unless a ``writer`` is given.

    The steps are those of Kim et al. 2025: seed prompts are stripped of their own constraints and recombined
    into base prompts, and near-duplicates are dropped. Conflict-free sets of the 23 kinds in
    `hf_datamap.generate.constraint_sets.KINDS` are drawn so that the kinds are used as equally often as the conflict
    table allows (`hf_datamap.generate.constraint_sets.balance_of` says how equally), then arguments that
    go together. For every prompt a response that meets all its constraints is built and checked with the real checks,
    so that every prompt can be satisfied. The defaults of ``n`` and ``k`` are the paper's; all else it leaves open.

    Args:
        n: how many prompts, an equal number for each k (the first ones get one more if it does not divide).
        k: numbers of constraints.
        seed: same seed, same prompts.
        seeds: a dataset with seed prompts; 173 requests of IFEval that ship with the package by default.
        bases: how many different base prompts; a quarter of ``n`` by default. Fewer are used if the seeds give no more.
        similarity: from which Jaccard similarity of words two base prompts count as duplicates.
        embed: compares base prompts by meaning too; see `hf_datamap.generate.base_prompts.drop_near_duplicates`.
        loner_share: see `hf_datamap.generate.constraint_sets.draw_sets`.
        witness: whether to keep the responses that meet all constraints, in a column ``witness``.
        writer: a model that writes base prompts and the final wording instead of recombining and templates. A wording
            that loses a constraint is asked for again, and written by template in the end; the column ``writer`` says.

    Returns:
        Rows with ``id``, ``prompt``, ``instruction_id_list``, ``kwargs`` (JSON), ``k``, ``base``, ``seed_id`` and
        ``writer``, in random order. The dataset's ``info.description`` says how equally the kinds are used.

    Raises:
        GenerateError: a number is out of range, or no n different prompts can be made.
    """
    drafts = draw_drafts(
        n,
        k=k,
        seed=seed,
        seeds=seeds,
        bases=bases,
        similarity=similarity,
        embed=embed,
        loner_share=loner_share,
        writer=writer,
    )
    if writer is None:
        return as_dataset(drafts, [draft.prompt for draft in drafts], ["template"] * n, witness=witness)
    texts, writers = writer.final_wordings(drafts, random.Random(seed))  # noqa: S311 - reproducible draws, not secrets
    return as_dataset(drafts, texts, writers, witness=witness)


def draw_drafts(
    n: int,
    *,
    k: Sequence[int],
    seed: int,
    seeds: Dataset | None = None,
    bases: int | None = None,
    similarity: float = 0.75,
    embed: Embed | None = None,
    loner_share: float | None = None,
    writer: Writer | None = None,
) -> list[Draft]:
    """Draw base prompts, constraints and reference responses. See `prompts` for the arguments."""
    import numpy as np

    counts = _count_by_size(n, k)
    if bases is not None and bases < 1:
        raise GenerateError(f"bases must be at least 1, not {bases}")
    if loner_share is not None and not 0 < loner_share <= 1:
        raise GenerateError(f"loner_share is a share above 0 and at most 1, not {loner_share!r}")
    # Two sources of random numbers from one seed: arrays are drawn by NumPy's, words and numbers by Python's.
    array_rng = np.random.default_rng(seed)
    rng = random.Random(int(array_rng.integers(2**63)))  # noqa: S311 - reproducible draws, not secrets
    seed_prompts = bundled_seeds() if seeds is None else read_seeds(seeds)
    base_count = max(1, -(-n // 4)) if bases is None else bases
    if writer is None:
        candidates = recombine(seed_prompts, array_rng)
    else:
        candidates = writer.base_prompts(seed_prompts, base_count, rng)
    base_prompts = drop_near_duplicates(candidates, base_count, similarity=similarity, embed=embed)
    if not base_prompts:
        raise GenerateError("no base prompt came of the seeds" + (f" and {writer.usage.stopped}" if writer else ""))
    sets = draw_sets(counts, array_rng, loner_share=loner_share)
    used_prompts: set[str] = set()
    return [_draw_draft(sets[place], base_prompts, rng, used_prompts) for place in array_rng.permutation(len(sets))]


def _draw_draft(kinds: Sequence[str], bases: Sequence[BasePrompt], rng: random.Random, used_prompts: set[str]) -> Draft:
    """Draw a prompt that is new and that a reference response meets; add it to ``used_prompts``."""
    for _ in range(_MAX_TRIES):
        base = _draw_base(kinds, bases, rng)
        constraints = draw_arguments(kinds, base.text, rng)
        prompt = write_prompt(base.text, constraints, rng)
        if prompt in used_prompts or (response := find_reference_response(constraints)) is None:
            continue
        used_prompts.add(prompt)
        return Draft(base, constraints, prompt, response)
    raise GenerateError(
        f"no new prompt with {', '.join(kinds)} was found in {_MAX_TRIES} tries: there are too few base prompts for so "
        "many prompts; give more seeds"
    )


def _draw_base(kinds: Sequence[str], bases: Sequence[BasePrompt], rng: random.Random) -> BasePrompt:
    """Draw a base prompt that goes with the kinds.

    A request that an answer without commas must repeat has no comma itself.
    """
    for _ in range(1000):
        base = rng.choice(bases)
        if not (_REPEAT_PROMPT in kinds and _NO_COMMA in kinds and "," in base.text):
            return base
    raise GenerateError("every base prompt holds a comma: none can be repeated in an answer without commas")


def _count_by_size(n: int, k: Sequence[int]) -> dict[int, int]:
    """Return how many prompts have how many constraints: an equal share each, the first ones one more."""
    sizes = list(dict.fromkeys(k))
    if not sizes or len(sizes) != len(list(k)) or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise GenerateError(
            f"k is one or more different whole numbers of at least 1, for example 4,5,6, not {list(k)!r}"
        )
    if not isinstance(n, int) or n < 1:
        raise GenerateError(f"n must be a whole number of at least 1, not {n!r}")
    return {size: n // len(sizes) + (place < n % len(sizes)) for place, size in enumerate(sizes)}


def as_dataset(drafts: Sequence[Draft], texts: Sequence[str], writers: Sequence[str], *, witness: bool) -> Dataset:
    """Return rows in IFEval's layout, each prompt with the constraints that it states."""
    from datasets import Dataset

    def rows() -> Iterator[dict[str, Any]]:
        for number, (draft, text, writer) in enumerate(zip(drafts, texts, writers, strict=True)):
            ids, kwargs = as_columns(draft.constraints)
            row = {
                "id": f"p{number:06d}",
                "prompt": text,
                "instruction_id_list": ids,
                "kwargs": json.dumps(kwargs, ensure_ascii=False),
                "k": len(ids),
                "base": draft.base.text,
                "seed_id": draft.base.seeds,
                "writer": writer,
            }
            yield row | {"witness": draft.reference_response} if witness else row

    dataset = Dataset.from_list(list(rows()), features=features(witness=witness))
    balance = balance_of([constraint.id for constraint in draft.constraints] for draft in drafts)
    dataset.info.description = f"Prompts with verifiable constraints; {balance}."
    return dataset


def features(*, witness: bool) -> Features:
    """Return the columns of constraint prompts."""
    from datasets import Features, List, Value

    columns = {
        "id": Value("string"),
        "prompt": Value("string"),
        "instruction_id_list": List(Value("string")),
        "kwargs": Value("string"),
        "k": Value("int32"),
        "base": Value("string"),
        "seed_id": Value("string"),
        "writer": Value("string"),
    }
    return Features(columns | ({"witness": Value("string")} if witness else {}))
