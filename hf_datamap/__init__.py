"""Alignment Data Maps of preference datasets.

Every prompt with its N responses becomes a point: mean alignment score against variance of the scores.
Names are imported when they are first used, so that ``import hf_datamap`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_datamap.engine.version import __version__
from hf_datamap.errors import DataMapError

if TYPE_CHECKING:
    from hf_datamap.curate.audit import audit, fix
    from hf_datamap.curate.pairs import equal_arms, pair_attributes, to_pairs
    from hf_datamap.curate.select import select
    from hf_datamap.data import Example, Layout, Message, detect_layout, parse_layout
    from hf_datamap.data.group_rows import group_rows
    from hf_datamap.data.inspect import inspect_dataset
    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.datamap.index import build_index
    from hf_datamap.datamap.noise import noise_split, without_noise
    from hf_datamap.datamap.reliability import NoiseSplit
    from hf_datamap.engine.budget import Budget, Prices
    from hf_datamap.publish import deploy_space, load, push_to_hub
    from hf_datamap.scorers.auto import auto_scorer
    from hf_datamap.scorers.base import Score, Scorer
    from hf_datamap.scorers.columns import ColumnScorer
    from hf_datamap.scorers.constraints import ConstraintScorer
    from hf_datamap.scorers.embedders import RougeL, SentenceEmbedder, ServedEmbedder
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scorers.local import LocalJudge
    from hf_datamap.scorers.panel import Panel
    from hf_datamap.scorers.reference import ReferenceScorer, ReferenceWriter
    from hf_datamap.scorers.reward import RewardModel
    from hf_datamap.scorers.rubrics import Criterion, Rubric
    from hf_datamap.scoring.annotate import annotate, fit_panel
    from hf_datamap.scoring.calibrate import CalibrationReport, calibration_report
    from hf_datamap.scoring.files import annotate_files
    from hf_datamap.scoring.openai_batch import BatchJob, cancel_batch, collect_batch, submit_batch
    from hf_datamap.scoring.score_fn import score_fn

_HOMES = {
    "BatchJob": "hf_datamap.scoring.openai_batch",
    "Budget": "hf_datamap.engine.budget",
    "CalibrationReport": "hf_datamap.scoring.calibrate",
    "ColumnScorer": "hf_datamap.scorers.columns",
    "ConstraintScorer": "hf_datamap.scorers.constraints",
    "Criterion": "hf_datamap.scorers.rubrics",
    "DataMap": "hf_datamap.datamap.datamap",
    "Example": "hf_datamap.data",
    "LLMJudge": "hf_datamap.scorers.judge",
    "Layout": "hf_datamap.data",
    "LocalJudge": "hf_datamap.scorers.local",
    "Message": "hf_datamap.data",
    "NoiseSplit": "hf_datamap.datamap.reliability",
    "Panel": "hf_datamap.scorers.panel",
    "Prices": "hf_datamap.engine.budget",
    "ReferenceScorer": "hf_datamap.scorers.reference",
    "ReferenceWriter": "hf_datamap.scorers.reference",
    "RewardModel": "hf_datamap.scorers.reward",
    "RougeL": "hf_datamap.scorers.embedders",
    "Rubric": "hf_datamap.scorers.rubrics",
    "Score": "hf_datamap.scorers.base",
    "Scorer": "hf_datamap.scorers.base",
    "SentenceEmbedder": "hf_datamap.scorers.embedders",
    "ServedEmbedder": "hf_datamap.scorers.embedders",
    "annotate": "hf_datamap.scoring.annotate",
    "annotate_files": "hf_datamap.scoring.files",
    "audit": "hf_datamap.curate.audit",
    "auto_scorer": "hf_datamap.scorers.auto",
    "build_index": "hf_datamap.datamap.index",
    "calibration_report": "hf_datamap.scoring.calibrate",
    "cancel_batch": "hf_datamap.scoring.openai_batch",
    "collect_batch": "hf_datamap.scoring.openai_batch",
    "deploy_space": "hf_datamap.publish",
    "detect_layout": "hf_datamap.data",
    "equal_arms": "hf_datamap.curate.pairs",
    "fit_panel": "hf_datamap.scoring.annotate",
    "fix": "hf_datamap.curate.audit",
    "group_rows": "hf_datamap.data.group_rows",
    "inspect_dataset": "hf_datamap.data.inspect",
    "load": "hf_datamap.publish",
    "noise_split": "hf_datamap.datamap.noise",
    "pair_attributes": "hf_datamap.curate.pairs",
    "parse_layout": "hf_datamap.data",
    "push_to_hub": "hf_datamap.publish",
    "score_fn": "hf_datamap.scoring.score_fn",
    "select": "hf_datamap.curate.select",
    "submit_batch": "hf_datamap.scoring.openai_batch",
    "to_pairs": "hf_datamap.curate.pairs",
    "without_noise": "hf_datamap.datamap.noise",
}

#: Parts that are used as a whole: ``dm.generate.prompts``, ``dm.ray.annotate``.
_ROOMS = {"generate": "hf_datamap.generate", "ray": "hf_datamap.scoring.ray"}

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
        return import_module(_ROOMS[name])
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datamap' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
