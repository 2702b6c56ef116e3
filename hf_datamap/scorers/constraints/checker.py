"""Checking responses against the verifiable constraints of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from hf_datamap.data.example import Constraint
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.chinese import CHINESE
from hf_datamap.scorers.constraints.english import ENGLISH
from hf_datamap.scorers.constraints.french import FRENCH
from hf_datamap.scorers.constraints.ifbench.kinds import TEST_KINDS, TRAINING_KINDS
from hf_datamap.scorers.constraints.japanese import JAPANESE
from hf_datamap.scorers.constraints.kinds import Behaviour, Check, Kind
from hf_datamap.scorers.constraints.spanish import SPANISH
from hf_datamap.scorers.constraints.text import ResponseView, loose_variants

#: Changes whenever a verdict can change, so that stored scores of older checks are not taken for new ones.
VERSION: Final = 2

#: The kinds of constraints for English text by IFEval instruction id.
CONSTRAINTS: Final[Mapping[str, Kind]] = MappingProxyType(ENGLISH)
#: IFBench's 58 kinds of its test set and 29 of its training set, for English text. No id is IFEval's.
IFBENCH: Final[Mapping[str, Kind]] = MappingProxyType({**TEST_KINDS, **TRAINING_KINDS})
#: The kinds by language, the prefix of an id (``es:punctuation:no_comma``). English needs no prefix.
LANGUAGES: Final[Mapping[str, Mapping[str, Kind]]] = MappingProxyType(
    {
        "en": CONSTRAINTS,
        "es": MappingProxyType(SPANISH),
        "fr": MappingProxyType(FRENCH),
        "ja": MappingProxyType(JAPANESE),
        "zh": MappingProxyType(CHINESE),
    }
)


class Checker:
    """The constraints of one prompt, ready to check its responses.

    Args:
        constraints: what to check, in order.
        behaviour: ``repaired`` checks what the instructions say; ``published`` repeats the verdicts of the published
            checkers, known defects included.
        upstream_regex: whether keywords are regular expressions, as in the published IFEval, and not literal text.

    Raises:
        RowError: a constraint is unknown or its arguments are wrong.
    """

    def __init__(
        self,
        constraints: Iterable[Constraint],
        *,
        behaviour: Behaviour = "repaired",
        upstream_regex: bool = False,
    ) -> None:
        self._checks: list[Check] = [
            find_kind(constraint.id).compile(constraint.kwargs, behaviour=behaviour, upstream_regex=upstream_regex)
            for constraint in constraints
        ]

    def __repr__(self) -> str:
        return f"Checker({len(self._checks)} constraints)"

    def strict(self, response: str) -> list[bool]:
        """Return for each constraint whether ``response`` meets it. A blank response meets none, as in IFEval."""
        if not response.strip():
            return [False] * len(self._checks)
        view = ResponseView(response)
        return [check(view) for check in self._checks]

    def loose(self, response: str) -> list[bool]:
        """Return for each constraint whether ``response`` or one of IFEval's seven other variants of it meets it."""
        return [loose for _, loose in self.both(response)]

    def both(self, response: str) -> list[tuple[bool, bool]]:
        """Return the strict and the loose verdict for each constraint, sharing the work."""
        strict = self.strict(response)
        variants = _LooseVariants(response)
        return [
            (met, met or any(check(view) for view in variants)) for met, check in zip(strict, self._checks, strict=True)
        ]


class _LooseVariants:
    """The loose variants of a response. Each is made on first use and then kept for the other constraints."""

    def __init__(self, response: str) -> None:
        self._made: list[ResponseView] = []
        self._rest = map(ResponseView, loose_variants(response))

    def __iter__(self) -> Iterator[ResponseView]:
        yield from self._made
        for view in self._rest:
            self._made.append(view)
            yield view


def check(
    response: str,
    constraints: Iterable[Constraint],
    *,
    loose: bool = False,
    behaviour: Behaviour = "repaired",
    upstream_regex: bool = False,
) -> list[bool]:
    """Return for each constraint whether ``response`` meets it.

    Args:
        response: the text to check; a blank one meets no constraint.
        constraints: see `hf_datamap.data.parse_constraints`. For many responses to one prompt make a `Checker` once.
        loose: whether it is enough that one of IFEval's eight variants of the response meets the constraint.
        behaviour: see `Checker`.
        upstream_regex: see `Checker`.

    Raises:
        RowError: a constraint is unknown or its arguments are wrong.
    """
    checker = Checker(constraints, behaviour=behaviour, upstream_regex=upstream_regex)
    return checker.loose(response) if loose else checker.strict(response)


def find_kind(constraint_id: str) -> Kind:
    """Return the kind of constraint with this id, which may have a language prefix (``es:punctuation:no_comma``).

    Raises:
        RowError: there is none.
    """
    prefix, _, rest = constraint_id.partition(":")
    kinds, name = (LANGUAGES[prefix], rest) if prefix in LANGUAGES else (CONSTRAINTS, constraint_id)
    if name in kinds:
        return kinds[name]
    if kinds is CONSTRAINTS and name in IFBENCH:
        return IFBENCH[name]
    known = [*kinds, *IFBENCH] if kinds is CONSTRAINTS else list(kinds)
    nearest = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise RowError(f"unknown constraint {constraint_id[:80]!r}; {hint}known are {', '.join(known)}")
