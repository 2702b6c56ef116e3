"""Verifiable constraints: the checks of IFEval, M-IFEval and IFBench, and the scorer that uses them."""

from hf_datamap.data.values import parse_constraints
from hf_datamap.scorers.constraints.checker import CONSTRAINTS, IFBENCH, LANGUAGES, Checker, check, find_kind
from hf_datamap.scorers.constraints.conflicts import CONFLICTS
from hf_datamap.scorers.constraints.differences import Difference, compare_behaviours
from hf_datamap.scorers.constraints.kinds import Kind, Parameter
from hf_datamap.scorers.constraints.scorer import ConstraintScorer
from hf_datamap.scorers.constraints.turns import check_turns, rows_of_turns

__all__ = [
    "CONFLICTS",
    "CONSTRAINTS",
    "IFBENCH",
    "LANGUAGES",
    "Checker",
    "ConstraintScorer",
    "Difference",
    "Kind",
    "Parameter",
    "check",
    "check_turns",
    "compare_behaviours",
    "find_kind",
    "parse_constraints",
    "rows_of_turns",
]
