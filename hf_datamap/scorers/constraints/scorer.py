"""`ConstraintScorer`: the share of a prompt's verifiable constraints that a response meets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar, Literal, get_args

from hf_datamap.data.example import Constraint, Example
from hf_datamap.engine.reply import split_thoughts
from hf_datamap.engine.task import JSON, Score
from hf_datamap.errors import RowError, ScorerError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.constraints.checker import VERSION, Checker
from hf_datamap.scorers.constraints.kinds import Behaviour
from hf_datamap.scorers.constraints.language import detector

Mode = Literal["strict", "loose"]


@dataclass(frozen=True, repr=False)
class ConstraintScorer(Scorer):
    """Scores by verifiable constraints (IFEval, M-IFEval, IFBench): exact, no model, no network.

    The score is the fraction of the prompt's constraints that the response meets, between 0 and 1 (the graded score
    of Kim et al. 2025, arXiv 2412.15282). Of constraints given per turn, those of the turn count that the responses
    answer. A warning is given once if responses hold the model's thoughts, which then are checked like the answer.

    Args:
        mode: ``strict``, or ``loose`` for IFEval's lenient reading: a constraint counts as met if one of eight variants
            of the response, without its first or last line or its asterisks, meets it.
        behaviour: ``repaired`` checks what the instructions say; ``published`` repeats the verdicts of the published
            checkers, known defects included (docs/constraints.md lists them).
        upstream_regex: whether keywords are regular expressions, as in the published IFEval, and not literal text.
        strip_thoughts: whether to score responses without the thoughts in them (``<think>`` and the like).
        compare: whether to add the scores of both behaviours, as columns ``datamap_scores_repaired`` and
            ``datamap_scores_published``.

    Raises:
        ScorerError: an option has a value that it cannot have.
    """

    takes_images = True  # constraints are of the response alone
    stored: ClassVar[bool] = False  # quicker computed than looked up
    mode: Mode = "strict"
    _: KW_ONLY
    behaviour: Behaviour = "repaired"
    upstream_regex: bool = False
    strip_thoughts: bool = False
    compare: bool = False
    #: Whether the warning about thoughts was given. Not compared: it says nothing about the scores.
    _warned: list[bool] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, choices in (("mode", get_args(Mode)), ("behaviour", get_args(Behaviour))):
            if (value := getattr(self, name)) not in choices:
                raise ScorerError(f"ConstraintScorer: {name} must be {' or '.join(map(repr, choices))}, not {value!r}")
        for name in ("upstream_regex", "strip_thoughts", "compare"):
            if not isinstance(value := getattr(self, name), bool):
                raise ScorerError(f"ConstraintScorer: {name} must be true or false, not {value!r}")
        object.__setattr__(self, "part_names", get_args(Behaviour) if self.compare else ())

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Kind, version of the checks, options, and the language detector with its version."""
        return {
            "kind": "constraints",
            "version": VERSION,
            "mode": self.mode,
            "behaviour": self.behaviour,
            "upstream_regex": self.upstream_regex,
            "strip_thoughts": self.strip_thoughts,
            "compare": self.compare,
            "detector": detector(),
        }

    def score(self, example: Example) -> list[Score]:
        """Return one score per response, or the reason why a response or the whole row cannot be scored."""
        constraints = constraints_of_turn(example)
        if not constraints:
            reason = "the row has no verifiable constraints (columns instruction_id_list and kwargs)"
            return [Score(None, reason) for _ in example.responses]
        behaviours = get_args(Behaviour) if self.compare else (self.behaviour,)
        try:
            checkers = {
                behaviour: Checker(constraints, behaviour=behaviour, upstream_regex=self.upstream_regex)
                for behaviour in behaviours
            }
        except RowError as error:
            return [Score(None, str(error)) for _ in example.responses]
        scores = []
        for response in example.responses:
            by_behaviour = {behaviour: self._score(checker, response) for behaviour, checker in checkers.items()}
            parts = tuple(by_behaviour.values()) if self.compare else ()
            scores.append(replace(by_behaviour[self.behaviour], parts=parts))
        return scores

    def _score(self, checker: Checker, response: str | None) -> Score:
        if response is None:
            return Score(None, "the response is missing")
        try:
            text = self._without_thoughts(response)
            verdicts = checker.strict(text) if self.mode == "strict" else checker.loose(text)
        except RowError as error:
            return Score(None, str(error))
        return Score(sum(verdicts) / len(verdicts))

    def _without_thoughts(self, response: str) -> str:
        """Return the response, without its thoughts if that was asked for; otherwise warn once that it has some."""
        if not self.strip_thoughts and self._warned:
            return response
        thoughts, answer = split_thoughts(response)
        if not thoughts:
            return response
        if self.strip_thoughts:
            return answer
        self._warned.append(True)
        warnings.warn(
            "some responses hold the model's thoughts, and their constraints are checked against the thoughts too; to "
            "check the answers alone pass strip_thoughts=True to ConstraintScorer (on the command line "
            "-o strip_thoughts=true)",
            stacklevel=2,
        )
        return response


def constraints_of_turn(example: Example) -> Sequence[Constraint]:
    """Return the constraints that the responses must meet: all, or those of their turn where they are given per turn.

    The turn is the number of the user's messages, since a response answers the last of them.
    """
    turn = sum(message["role"] == "user" for message in example.prompt)
    return [constraint for constraint in example.constraints if constraint.turn in (None, turn)]
