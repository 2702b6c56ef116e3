"""Kinds of constraints: their ids and parameters, and how a constraint of a row becomes a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.text import ResponseView

Check: TypeAlias = Callable[[ResponseView], bool]
#: ``repaired`` checks what the instruction says; ``published`` repeats the verdicts of the published checker, its
#: known defects included. docs/constraints.md lists where they differ.
Behaviour: TypeAlias = Literal["repaired", "published"]
Value: TypeAlias = int | str | list[str] | dict[str, str]

LESS_THAN: Final = "less than"
AT_LEAST: Final = "at least"
#: The names of comparisons of a count with a threshold, in every language.
COMPARISONS: Final[Mapping[str, Callable[[int], Callable[[int], bool]]]] = {
    LESS_THAN: lambda threshold: threshold.__gt__,
    AT_LEAST: lambda threshold: threshold.__le__,
    "al menos": lambda threshold: threshold.__le__,
    "como máximo": lambda threshold: threshold.__ge__,
    "moins de": lambda threshold: threshold.__gt__,
    "au moins": lambda threshold: threshold.__le__,
    "未満": lambda threshold: threshold.__gt__,
    "以上": lambda threshold: threshold.__le__,
    "少于": lambda threshold: threshold.__gt__,
    "至少": lambda threshold: threshold.__le__,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword argument of a kind of constraint.

    Attributes:
        name: as IFEval spells it (``section_spliter`` included).
        type: "int", "str", "list[str]" or "dict[str, str]".
        choices: allowed values, empty when free.
        least: the smallest allowed number.
    """

    name: str
    type: Literal["int", "str", "list[str]", "dict[str, str]"]
    choices: tuple[str, ...] = ()
    least: int = 0

    def read(self, value: object) -> Value:
        """Return ``value`` in this parameter's type.

        Raises:
            ValueError: it does not fit; the message says what would.
        """
        if self.type == "int":
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
                raise ValueError("a whole number")
            if value < self.least:
                raise ValueError(f"a whole number of at least {self.least}")
            return int(value)
        if self.type == "str":
            if not isinstance(value, str) or not value.strip():
                raise ValueError("text that is not blank")
            if self.choices and value not in self.choices:
                raise ValueError(" or ".join(map(repr, self.choices)))
            return value
        if self.type == "dict[str, str]":
            pairs = {name: text for name, text in value.items() if text} if isinstance(value, Mapping) else {}
            if not pairs or not all(isinstance(item, str) for item in (*pairs, *pairs.values())):
                raise ValueError("a mapping of texts to texts")
            return pairs
        items = list(value) if isinstance(value, list | tuple) else []
        if not items or not all(isinstance(item, str) and item for item in items):
            raise ValueError("a list of texts that are not empty")
        return items


@dataclass(frozen=True, slots=True, repr=False)
class Kind:
    """A kind of constraint.

    Attributes:
        id: the published instruction id, without a language prefix.
        parameters: its keyword arguments, all required.
        make: builds the check from them.
        make_published: builds a check that repeats the published verdicts where these are known to be wrong; None
            where there is no difference.
        is_pattern: whether the published check takes an argument as a regular expression.
    """

    id: str
    parameters: tuple[Parameter, ...]
    make: Callable[..., Check]
    make_published: Callable[..., Check] | None = None
    is_pattern: bool = False

    def __repr__(self) -> str:
        return f"Kind({self.id!r}, {_list_parameters({parameter.name: parameter for parameter in self.parameters})})"

    def compile(
        self, kwargs: Mapping[str, Any], *, behaviour: Behaviour = "repaired", upstream_regex: bool = False
    ) -> Check:
        """Build the check of one constraint.

        Args:
            kwargs: keyword arguments; nulls count as absent.
            behaviour: whether to check what the instruction says or to repeat the published verdicts.
            upstream_regex: whether arguments are regular expressions where the published check takes them so.

        Raises:
            RowError: an argument is unknown, missing or wrong.
        """
        values = self._read(kwargs)
        published = behaviour == "published" or (upstream_regex and self.is_pattern)
        make = self.make_published if published and self.make_published else self.make
        try:
            return make(**values)
        except RowError as error:
            raise RowError(f"constraint {self.id!r}: {error}") from None

    def _read(self, kwargs: Mapping[str, Any]) -> dict[str, Value]:
        """Check names and types of keyword arguments."""
        known = {parameter.name: parameter for parameter in self.parameters}
        takes = _list_parameters(known)
        given = {name: value for name, value in kwargs.items() if value is not None}
        if unknown := [name for name in given if name not in known]:
            raise RowError(f"constraint {self.id!r} takes no argument {unknown[0]!r}; it takes {takes}")
        if missing := [name for name in known if name not in given]:
            raise RowError(f"constraint {self.id!r} lacks its argument {missing[0]!r}; it takes {takes}")
        values: dict[str, Value] = {}
        for name, value in given.items():
            try:
                values[name] = known[name].read(value)
            except (ValueError, OverflowError) as error:
                shown = repr(value)
                shown = shown if len(shown) <= 80 else shown[:77] + "..."
                raise RowError(f"constraint {self.id!r}: argument {name!r} must be {error}, not {shown}") from None
        return values


def _list_parameters(names: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{name!r} ({parameter.type})" for name, parameter in names.items()) or "none"


class Registry(dict[str, Kind]):
    """Kinds by id. Decorating the function that builds a check adds its kind."""

    def borrow(self, other: Registry, kind_ids: Iterable[str], *unused: Parameter, relations: tuple[str, ...]) -> None:
        """Take over kinds of another language, with this language's names for comparisons.

        Args:
            other: the registry of the other language.
            kind_ids: the kinds to take over.
            unused: parameters that the kinds have in this language only, and that change nothing.
            relations: the names of comparisons.
        """
        for kind_id in kind_ids:
            kind = other[kind_id]
            own = tuple(
                replace(parameter, choices=relations) if parameter.choices else parameter
                for parameter in kind.parameters
            )
            published = kind.make_published
            self[kind_id] = Kind(
                kind_id,
                own + unused,
                _ignoring(kind.make, unused) if unused else kind.make,
                _ignoring(published, unused) if unused and published else published,
                kind.is_pattern,
            )

    def add(self, kind_id: str, *parameters: Parameter) -> Callable[[Callable[..., Check]], Callable[..., Check]]:
        """Register the decorated function as the maker of ``kind_id``."""

        def register(make: Callable[..., Check]) -> Callable[..., Check]:
            self[kind_id] = Kind(kind_id, parameters, make)
            return make

        return register

    def as_published(
        self, kind_id: str, *, is_pattern: bool = False
    ) -> Callable[[Callable[..., Check]], Callable[..., Check]]:
        """Register the decorated function as the maker of checks that repeat the published verdicts of ``kind_id``."""

        def register(make: Callable[..., Check]) -> Callable[..., Check]:
            self[kind_id] = replace(self[kind_id], make_published=make, is_pattern=is_pattern)
            return make

        return register


def _ignoring(make: Callable[..., Check], unused: tuple[Parameter, ...]) -> Callable[..., Check]:
    names = {parameter.name for parameter in unused}

    def make_without(**kwargs: Value) -> Check:
        return make(**{name: value for name, value in kwargs.items() if name not in names})

    return make_without


def integer(name: str, least: int = 0) -> Parameter:
    """A whole number."""
    return Parameter(name, "int", least=least)


def string(name: str) -> Parameter:
    """A text that is not blank."""
    return Parameter(name, "str")


def strings(name: str) -> Parameter:
    """A list of texts."""
    return Parameter(name, "list[str]")


def relation(name: str = "relation") -> Parameter:
    """IFEval's comparison: ``less than`` or ``at least``."""
    return Parameter(name, "str", choices=(LESS_THAN, AT_LEAST))


def compare(threshold: int, how: str) -> Callable[[int], bool]:
    """Return the comparison of a count with ``threshold``; ``how`` is one of `COMPARISONS`."""
    return COMPARISONS[how](threshold)
