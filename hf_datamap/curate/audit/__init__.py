"""Judgement on a mapped dataset: findings with evidence, suspects, release gates, repairs."""

from hf_datamap.curate.audit.findings import MEASURES, Finding
from hf_datamap.curate.audit.fix import FixResult, fix
from hf_datamap.curate.audit.gates import Gate, parse_gates
from hf_datamap.curate.audit.releases import ReleaseComparison
from hf_datamap.curate.audit.report import AuditReport
from hf_datamap.curate.audit.run import audit
from hf_datamap.curate.audit.suspects import Suspect, Suspects

__all__ = [
    "MEASURES",
    "AuditReport",
    "Finding",
    "FixResult",
    "Gate",
    "ReleaseComparison",
    "Suspect",
    "Suspects",
    "audit",
    "fix",
    "parse_gates",
]
