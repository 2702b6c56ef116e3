"""Alignment Data Maps of preference datasets.

Every prompt with its N responses becomes a point: mean alignment score against variance of the scores.
Names are imported when they are first used, so that ``import hf_datamap`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_datamap.errors import DataMapError
from hf_datamap.version import __version__

if TYPE_CHECKING:
    from hf_datamap.auditing import audit, fix
    from hf_datamap.batch import BatchJob, cancel_batch, collect_batch, submit_batch
    from hf_datamap.budget import Budget, Prices
    from hf_datamap.calibration import CalibrationReport, calibration_report
    from hf_datamap.datamap import DataMap
    from hf_datamap.hub import deploy_space, load, push_to_hub
    from hf_datamap.index import build_index
    from hf_datamap.inspection import inspect_dataset
    from hf_datamap.layouts import Example, Layout, Message, detect_layout, parse_layout
    from hf_datamap.layouts.group import group_rows
    from hf_datamap.mapping import score_fn
    from hf_datamap.noise import noise_split, without_noise
    from hf_datamap.pairs import equal_arms, pair_attributes, to_pairs
    from hf_datamap.reliability import NoiseSplit
    from hf_datamap.scorers.auto import auto_scorer
    from hf_datamap.scorers.base import Score, Scorer
    from hf_datamap.scorers.columns import ColumnScorer
    from hf_datamap.scorers.constraints import ConstraintScorer
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scorers.local import LocalJudge
    from hf_datamap.scorers.panel import Panel
    from hf_datamap.scorers.reference import ReferenceScorer, ReferenceWriter
    from hf_datamap.scorers.reward import RewardModel
    from hf_datamap.scorers.rubrics import Criterion, Rubric
    from hf_datamap.scorers.similarity import RougeL, SentenceEmbedder, ServedEmbedder
    from hf_datamap.scoring import annotate, fit_panel
    from hf_datamap.selection import select
    from hf_datamap.shards import annotate_files

_HOMES = {
    "BatchJob": "hf_datamap.batch",
    "Budget": "hf_datamap.budget",
    "CalibrationReport": "hf_datamap.calibration",
    "ColumnScorer": "hf_datamap.scorers.columns",
    "ConstraintScorer": "hf_datamap.scorers.constraints",
    "Criterion": "hf_datamap.scorers.rubrics",
    "DataMap": "hf_datamap.datamap",
    "Example": "hf_datamap.layouts",
    "LLMJudge": "hf_datamap.scorers.judge",
    "Layout": "hf_datamap.layouts",
    "LocalJudge": "hf_datamap.scorers.local",
    "Message": "hf_datamap.layouts",
    "NoiseSplit": "hf_datamap.reliability",
    "Panel": "hf_datamap.scorers.panel",
    "Prices": "hf_datamap.budget",
    "ReferenceScorer": "hf_datamap.scorers.reference",
    "ReferenceWriter": "hf_datamap.scorers.reference",
    "RewardModel": "hf_datamap.scorers.reward",
    "RougeL": "hf_datamap.scorers.similarity",
    "Rubric": "hf_datamap.scorers.rubrics",
    "Score": "hf_datamap.scorers.base",
    "Scorer": "hf_datamap.scorers.base",
    "SentenceEmbedder": "hf_datamap.scorers.similarity",
    "ServedEmbedder": "hf_datamap.scorers.similarity",
    "annotate": "hf_datamap.scoring",
    "annotate_files": "hf_datamap.shards",
    "audit": "hf_datamap.auditing",
    "auto_scorer": "hf_datamap.scorers.auto",
    "build_index": "hf_datamap.index",
    "calibration_report": "hf_datamap.calibration",
    "cancel_batch": "hf_datamap.batch",
    "collect_batch": "hf_datamap.batch",
    "deploy_space": "hf_datamap.hub",
    "detect_layout": "hf_datamap.layouts",
    "equal_arms": "hf_datamap.pairs",
    "fit_panel": "hf_datamap.scoring",
    "fix": "hf_datamap.auditing",
    "group_rows": "hf_datamap.layouts.group",
    "inspect_dataset": "hf_datamap.inspection",
    "load": "hf_datamap.hub",
    "noise_split": "hf_datamap.noise",
    "pair_attributes": "hf_datamap.pairs",
    "parse_layout": "hf_datamap.layouts",
    "push_to_hub": "hf_datamap.hub",
    "score_fn": "hf_datamap.mapping",
    "select": "hf_datamap.selection",
    "submit_batch": "hf_datamap.batch",
    "to_pairs": "hf_datamap.pairs",
    "without_noise": "hf_datamap.noise",
}

#: Parts that are used as a whole: ``dm.generate.prompts``, ``dm.ray.annotate``.
_ROOMS = ("generate", "ray")

__all__ = [
    "BatchJob",
    "Budget",
    "CalibrationReport",
    "ColumnScorer",
    "ConstraintScorer",
    "Criterion",
    "DataMap",
    "DataMapError",
    "Example",
    "LLMJudge",
    "Layout",
    "LocalJudge",
    "Message",
    "NoiseSplit",
    "Panel",
    "Prices",
    "ReferenceScorer",
    "ReferenceWriter",
    "RewardModel",
    "RougeL",
    "Rubric",
    "Score",
    "Scorer",
    "SentenceEmbedder",
    "ServedEmbedder",
    "__version__",
    "annotate",
    "annotate_files",
    "audit",
    "auto_scorer",
    "build_index",
    "calibration_report",
    "cancel_batch",
    "collect_batch",
    "deploy_space",
    "detect_layout",
    "equal_arms",
    "fit_panel",
    "fix",
    "group_rows",
    "inspect_dataset",
    "load",
    "noise_split",
    "pair_attributes",
    "parse_layout",
    "push_to_hub",
    "score_fn",
    "select",
    "submit_batch",
    "to_pairs",
    "without_noise",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the home module holds
    if name in _ROOMS:
        return import_module(f"hf_datamap.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datamap' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
