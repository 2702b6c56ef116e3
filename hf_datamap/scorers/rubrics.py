"""Rubrics: what a judge judges by, as data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from hf_datamap.errors import ScorerError

_FOLDER: Final = Path(__file__).with_name("rubric_files")
_SUFFIXES: Final = (".yaml", ".yml", ".json", ".txt", ".md")
_NAME: Final = re.compile(r"[A-Za-z]\w{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of several things that a response is scored by.

    Attributes:
        name: a word; what the judge's answer calls it.
        text: what it means.
        weight: its share in the score, against those of the others.
    """

    name: str
    text: str
    weight: float = 1.0

    def __repr__(self) -> str:
        return f"Criterion({self.name!r}, weight={self.weight:g})"


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a response is judged by.

    Attributes:
        name: short name, shown in cards.
        text: what matters, in words a judge reads.
        criteria: when there are any, each gets a number and the score is their weighted mean.
        reference: whether the judge is shown the row's reference answer.
    """

    name: str
    text: str
    criteria: tuple[Criterion, ...] = ()
    reference: bool = False

    def __post_init__(self) -> None:
        names = [criterion.name for criterion in self.criteria]
        if not self.text.strip():
            raise ScorerError(f"rubric {self.name!r} has no text")
        if len(set(names)) < len(names) or not all(_NAME.match(name) for name in names) or "rationale" in names:
            raise ScorerError(f"rubric {self.name!r}: criteria need different names of one word each, not {names}")
        if not all(math.isfinite(criterion.weight) and criterion.weight > 0 for criterion in self.criteria):
            raise ScorerError(f"rubric {self.name!r}: weights must be positive numbers")

    def __repr__(self) -> str:
        names = f", criteria={', '.join(criterion.name for criterion in self.criteria)}" if self.criteria else ""
        return f"Rubric({self.name[:40]!r}, {len(self.text):,} characters{names[:60]})"

    @property
    def fields(self) -> tuple[str, ...]:
        """The numbers that a judge gives a response."""
        return tuple(criterion.name for criterion in self.criteria) or ("score",)

    @property
    def digest(self) -> str:
        """Digest of all that a judge reads: part of the scorer's identity."""
        text = self.text
        if self.criteria or self.reference:
            parts = [[criterion.name, criterion.text, criterion.weight] for criterion in self.criteria]
            text = json.dumps([self.text, parts, self.reference])
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()

    def score(self, numbers: Mapping[str, float]) -> float:
        """The weighted mean of the criteria's numbers, or the one number."""
        if not self.criteria:
            return numbers["score"]
        total = math.fsum(criterion.weight for criterion in self.criteria)
        return math.fsum(criterion.weight * numbers[criterion.name] for criterion in self.criteria) / total

    @classmethod
    def load(cls, path: str | Path) -> Rubric:
        """Read a rubric from a file: YAML or JSON (``name``, ``text``, ``criteria``, ``reference``), or plain text.

        Raises:
            ScorerError: the file cannot be read, or holds no rubric.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise ScorerError(f"cannot read the rubric {path}: {error}") from None
        if path.suffix not in (".yaml", ".yml", ".json"):
            return cls(path.stem, text.strip())
        try:
            return cls._from(yaml.safe_load(text), path.stem)
        except (yaml.YAMLError, TypeError, ValueError, KeyError) as error:
            raise ScorerError(f"{path} holds no rubric ({error}); it needs `text`, and may have `criteria`") from None

    @classmethod
    def _from(cls, data: Any, name: str) -> Rubric:  # noqa: ANN401 - what YAML holds
        if not isinstance(data, dict):
            raise TypeError("no mapping")
        if unknown := set(data) - {"name", "text", "criteria", "reference"}:
            raise ValueError(f"unknown: {', '.join(sorted(map(str, unknown)))}")
        criteria = tuple(
            Criterion(str(item["name"]), str(item["text"]), float(item.get("weight", 1.0)))
            for item in data.get("criteria") or ()
        )
        return cls(str(data.get("name", name)), str(data["text"]), criteria, bool(data.get("reference", False)))


class _Shipped(Mapping[str, Rubric]):
    """The rubrics that come with the package, read when they are asked for."""

    def __getitem__(self, name: str) -> Rubric:
        if name not in self._names():
            raise KeyError(name)
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    @staticmethod
    @lru_cache(maxsize=1)
    def _names() -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@lru_cache(maxsize=64)
def _load(name: str) -> Rubric:
    return Rubric.load(_FOLDER / f"{name}.yaml")


RUBRICS: Final[Mapping[str, Rubric]] = _Shipped()


def rubric_of(value: str | Rubric) -> Rubric:
    """Return the rubric that is meant: a `Rubric`, the name of one that ships, a file, or the text itself.

    Raises:
        ScorerError: it is none of these.
    """
    if isinstance(value, Rubric):
        return value
    if value in RUBRICS:
        return RUBRICS[value]
    if "\n" not in value and len(value) < 1000 and value.endswith(_SUFFIXES):
        return Rubric.load(value)
    if len(value.split()) < 3:
        raise ScorerError(
            f"no rubric named {value!r}; there are {', '.join(RUBRICS)}. Or pass a file ({', '.join(_SUFFIXES)}) "
            "or the rubric's text"
        )
    return Rubric("custom", value)
