"""Verifiable constraints: IFEval's checks, and the scorer made of them."""

from hf_datamap.data.values import parse_constraints
from hf_datamap.scorers.constraints.checker import CONSTRAINTS, LANGUAGES, Checker, check, find
from hf_datamap.scorers.constraints.conflicts import CONFLICTS
from hf_datamap.scorers.constraints.kinds import Kind, Parameter
from hf_datamap.scorers.constraints.scorer import ConstraintScorer

__all__ = [
    "CONFLICTS",
    "CONSTRAINTS",
    "LANGUAGES",
    "Checker",
    "ConstraintScorer",
    "Kind",
    "Parameter",
    "check",
    "find",
    "parse_constraints",
]
