"""Verifiable constraints: the checks of IFEval, M-IFEval and IFBench, and the scorer that uses them."""

from hf_datamap.data.values import parse_constraints
from hf_datamap.scorers.constraints.checker import CONSTRAINTS, IFBENCH, LANGUAGES, Checker, check, find_kind
from hf_datamap.scorers.constraints.conflicts import CONFLICTS
from hf_datamap.scorers.constraints.kinds import Kind, Parameter
from hf_datamap.scorers.constraints.scorer import ConstraintScorer

__all__ = [
    "CONFLICTS",
    "CONSTRAINTS",
    "IFBENCH",
    "LANGUAGES",
    "Checker",
    "ConstraintScorer",
    "Kind",
    "Parameter",
    "check",
    "find_kind",
    "parse_constraints",
]
