"""`ConstraintScorer`: the share of a prompt's verifiable constraints that a response meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from hf_datamap.data.example import Example
from hf_datamap.engine.task import JSON, Score
from hf_datamap.errors import RowError, ScorerError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.constraints.checker import VERSION, Checker
from hf_datamap.scorers.constraints.language import detector


@dataclass(frozen=True)
class ConstraintScorer(Scorer):
    """Scores by IFEval's verifiable constraints: exact, no model, no network.

    The score is the fraction of the prompt's constraints that the response meets, between 0 and 1 (the graded score
    of Kim et al. 2025, arXiv 2412.15282).

    Args:
        mode: ``strict``, or ``loose`` for IFEval's lenient reading: a constraint counts as met if one of eight variants
            of the response, without its first or last line or its asterisks, meets it.

    Raises:
        ScorerError: ``mode`` is neither.
    """

    stored: ClassVar[bool] = False  # quicker computed than looked up
    mode: Literal["strict", "loose"] = "strict"

    def __post_init__(self) -> None:
        if self.mode not in ("strict", "loose"):
            raise ScorerError(f"ConstraintScorer: mode must be 'strict' or 'loose', not {self.mode!r}")

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Kind, version of the checks, mode, and the language detector with its version."""
        return {"kind": "constraints", "version": VERSION, "mode": self.mode, "detector": detector()}

    def score(self, example: Example) -> list[Score]:
        """Return one score per response, or the reason why a response or the whole row cannot be scored."""
        if not example.constraints:
            reason = "the row has no verifiable constraints (columns instruction_id_list and kwargs)"
            return [Score(None, reason) for _ in example.responses]
        try:
            checker = Checker(example.constraints)
        except RowError as error:
            return [Score(None, str(error)) for _ in example.responses]
        return [self._score(checker, response) for response in example.responses]

    def _score(self, checker: Checker, response: str | None) -> Score:
        if response is None:
            return Score(None, "the response is missing")
        try:
            verdicts = checker.strict(response) if self.mode == "strict" else checker.loose(response)
        except RowError as error:
            return Score(None, str(error))
        return Score(sum(verdicts) / len(verdicts))
