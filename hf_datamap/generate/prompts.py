"""`prompts`: prompts with verifiable constraints, in IFEval's own layout (after Kim et al. 2025, arXiv 2412.15282)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.errors import GenerateError
from hf_datamap.generate.arguments import as_columns, draw_arguments
from hf_datamap.generate.base_prompts import Base, Embed, recombine, unlike
from hf_datamap.generate.constraint_sets import draw_sets
from hf_datamap.generate.model_writer import Writer
from hf_datamap.generate.reference_response import find_witness
from hf_datamap.generate.seed_prompts import bundled_seeds, seeds_of
from hf_datamap.generate.templates import write_prompt

if TYPE_CHECKING:
    from datasets import Dataset, Features

_TRIES: Final = 60
_NO_COMMA: Final = "punctuation:no_comma"
_REPEAT: Final = "combination:repeat_prompt"


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt as drawn: what it is made of, before it is a row.

    Attributes:
        base: its base prompt.
        constraints: what it asks for besides.
        prompt: the text, by template.
        witness: a response that meets every constraint.
    """

    base: Base
    constraints: tuple[Constraint, ...]
    prompt: str
    witness: str


def prompts(
    n: int = 48_000,
    *,
    k: Sequence[int] = (4, 5, 6),
    seed: int = 0,
    seeds: Dataset | None = None,
    bases: int | None = None,
    similarity: float = 0.75,
    embed: Embed | None = None,
    loner_share: float = 0.25,
    witness: bool = False,
    writer: Writer | None = None,
) -> Dataset:
    """Make prompts with ``k`` verifiable constraints each; without a network unless a ``writer`` is given.

    Seed instructions are freed of their own constraints and recombined into base prompts; near-duplicates are dropped;
    conflict-free sets of the 23 kinds in `hf_datamap.generate.constraint_sets.KINDS` are drawn so that each kind is
    used equally often; arguments are drawn that go together; a response that meets all of them is built and checked
    with the real checks, so that every prompt can be satisfied. The defaults n and k are the paper's; all else
    it leaves open.

    Args:
        n: how many prompts, an equal number for each k (the first ones get one more if it does not divide).
        k: numbers of constraints.
        seed: same seed, same prompts.
        seeds: a dataset with prompts to start from; 173 requests of IFEval that ship with the package by default.
        bases: how many different base prompts; a quarter of ``n`` by default. Fewer are used if the seeds give no more.
        similarity: from which Jaccard similarity of words two base prompts count as duplicates.
        embed: compares base prompts by meaning too; see `hf_datamap.generate.base_prompts.unlike`.
        loner_share: see `hf_datamap.generate.constraint_sets.draw_sets`.
        witness: whether to keep the witness responses, in a column ``witness``.
        writer: a model that writes base prompts and the final wording instead of recombining and templates. A wording
            that loses a constraint is asked for again, and written by template in the end; the column ``writer`` says.

    Returns:
        Rows with ``id``, ``prompt``, ``instruction_id_list``, ``kwargs`` (JSON), ``k``, ``base``, ``seed_id`` and
        ``writer``, in random order.

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
    texts, writers = writer.final(drafts, random.Random(seed))  # noqa: S311 - reproducible draws, not secrets
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
    loner_share: float = 0.25,
    writer: Writer | None = None,
) -> list[Draft]:
    """Draw base prompts, constraints and witnesses; see `prompts`."""
    import numpy as np

    counts = _counts(n, k)
    if bases is not None and bases < 1:
        raise GenerateError(f"bases must be at least 1, not {bases}")
    if not 0 < loner_share <= 1:
        raise GenerateError(f"loner_share is a share above 0 and at most 1, not {loner_share!r}")
    rng = np.random.default_rng(seed)
    chance = random.Random(int(rng.integers(2**63)))  # noqa: S311 - reproducible draws, not secrets
    start = bundled_seeds() if seeds is None else seeds_of(seeds)
    wanted = max(1, -(-n // 4)) if bases is None else bases
    source = recombine(start, rng) if writer is None else writer.bases(start, wanted, chance)
    candidates = unlike(source, wanted, similarity=similarity, embed=embed)
    if not candidates:
        raise GenerateError("no base prompt came of the seeds" + (f" and {writer.usage.stopped}" if writer else ""))
    sets = draw_sets(counts, rng, loner_share=loner_share)
    deck, taken = _Deck(candidates, chance), set[str]()
    return [_draft(sets[place], deck, chance, taken) for place in rng.permutation(len(sets))]


class _Deck:
    """Base prompts in random order."""

    def __init__(self, bases: Sequence[Base], chance: random.Random) -> None:
        self._bases, self._chance = bases, chance

    def draw(self, kinds: Sequence[str]) -> Base:
        """One that goes with the kinds: a request to be repeated in an answer without commas has none itself."""
        for _ in range(1000):
            base = self._chance.choice(self._bases)
            if not (_REPEAT in kinds and _NO_COMMA in kinds and "," in base.text):
                return base
        raise GenerateError("every base prompt holds a comma: none can be repeated in an answer without commas")


def _draft(kinds: Sequence[str], deck: _Deck, chance: random.Random, taken: set[str]) -> Draft:
    for _ in range(_TRIES):
        base = deck.draw(kinds)
        constraints = draw_arguments(kinds, base.text, chance)
        prompt = write_prompt(base.text, constraints, chance)
        if prompt in taken or (witness := find_witness(constraints)) is None:
            continue
        taken.add(prompt)
        return Draft(base, constraints, prompt, witness)
    raise GenerateError(
        f"no new prompt with {', '.join(kinds)} was found in {_TRIES} tries: there are too few base prompts for so "
        "many prompts; give more seeds"
    )


def _counts(n: int, k: Sequence[int]) -> dict[int, int]:
    sizes = list(dict.fromkeys(k))
    if not sizes or len(sizes) != len(list(k)) or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise GenerateError(
            f"k is one or more different whole numbers of at least 1, for example 4,5,6, not {list(k)!r}"
        )
    if not isinstance(n, int) or n < 1:
        raise GenerateError(f"n must be a whole number of at least 1, not {n!r}")
    return {size: n // len(sizes) + (place < n % len(sizes)) for place, size in enumerate(sizes)}


def as_dataset(drafts: Sequence[Draft], texts: Sequence[str], writers: Sequence[str], *, witness: bool) -> Dataset:
    """Rows in IFEval's layout, each prompt with the constraints it states."""
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
            yield row | {"witness": draft.witness} if witness else row

    return Dataset.from_list(list(rows()), features=features(witness=witness))


def features(*, witness: bool) -> Features:
    """The columns of constraint prompts."""
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
