"""Alignment Data Maps of preference datasets.

Every prompt with its N responses becomes a point: mean alignment score against variance of the scores.
Names are imported when they are first used, so that ``import hf_datamap`` stays quick.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:  # the same names for type checkers; a test compares the two lists
    from hf_datamap import generate as generate
    from hf_datamap.curate.audit import audit as audit
    from hf_datamap.curate.audit import fix as fix
    from hf_datamap.curate.pairs import equal_arms as equal_arms
    from hf_datamap.curate.pairs import pair_attributes as pair_attributes
    from hf_datamap.curate.pairs import to_pairs as to_pairs
    from hf_datamap.curate.select import select as select
    from hf_datamap.data.detect import detect_layout as detect_layout
    from hf_datamap.data.example import Example as Example
    from hf_datamap.data.example import Message as Message
    from hf_datamap.data.group_rows import group_rows as group_rows
    from hf_datamap.data.inspect import inspect_dataset as inspect_dataset
    from hf_datamap.data.layout import Layout as Layout
    from hf_datamap.data.load import load_source as load_source
    from hf_datamap.data.parse import parse_layout as parse_layout
    from hf_datamap.datamap.datamap import DataMap as DataMap
    from hf_datamap.datamap.index import build_index as build_index
    from hf_datamap.datamap.noise import noise_split as noise_split
    from hf_datamap.datamap.noise import without_noise as without_noise
    from hf_datamap.datamap.reliability import NoiseSplit as NoiseSplit
    from hf_datamap.engine.budget import Budget as Budget
    from hf_datamap.engine.budget import Prices as Prices
    from hf_datamap.engine.config import __version__ as __version__
    from hf_datamap.engine.task import Score as Score
    from hf_datamap.errors import BudgetError as BudgetError
    from hf_datamap.errors import CardError as CardError
    from hf_datamap.errors import DataMapError as DataMapError
    from hf_datamap.errors import EndpointError as EndpointError
    from hf_datamap.errors import GateError as GateError
    from hf_datamap.errors import GenerateError as GenerateError
    from hf_datamap.errors import HubError as HubError
    from hf_datamap.errors import Interrupted as Interrupted
    from hf_datamap.errors import LayoutError as LayoutError
    from hf_datamap.errors import MapError as MapError
    from hf_datamap.errors import Overloaded as Overloaded
    from hf_datamap.errors import PairError as PairError
    from hf_datamap.errors import RowError as RowError
    from hf_datamap.errors import ScorerError as ScorerError
    from hf_datamap.errors import SelectionError as SelectionError
    from hf_datamap.errors import SourceError as SourceError
    from hf_datamap.errors import StoreError as StoreError
    from hf_datamap.errors import Unanswered as Unanswered
    from hf_datamap.publish.load import load as load
    from hf_datamap.publish.push import preview_card as preview_card
    from hf_datamap.publish.push import push_to_hub as push_to_hub
    from hf_datamap.publish.space import deploy_space as deploy_space
    from hf_datamap.scorers.base import Scorer as Scorer
    from hf_datamap.scorers.columns import ColumnScorer as ColumnScorer
    from hf_datamap.scorers.constraints.scorer import ConstraintScorer as ConstraintScorer
    from hf_datamap.scorers.embedders import RougeL as RougeL
    from hf_datamap.scorers.embedders import SentenceEmbedder as SentenceEmbedder
    from hf_datamap.scorers.embedders import ServedEmbedder as ServedEmbedder
    from hf_datamap.scorers.judge import LLMJudge as LLMJudge
    from hf_datamap.scorers.local import LocalJudge as LocalJudge
    from hf_datamap.scorers.pairwise import PairwiseJudge as PairwiseJudge
    from hf_datamap.scorers.panel import Panel as Panel
    from hf_datamap.scorers.reference import ReferenceScorer as ReferenceScorer
    from hf_datamap.scorers.registry import auto_scorer as auto_scorer
    from hf_datamap.scorers.reward import RewardModel as RewardModel
    from hf_datamap.scorers.rubrics import Criterion as Criterion
    from hf_datamap.scorers.rubrics import Rubric as Rubric
    from hf_datamap.scorers.writers import ReferenceWriter as ReferenceWriter
    from hf_datamap.scorers.writers import RubricWriter as RubricWriter
    from hf_datamap.scoring import ray as ray
    from hf_datamap.scoring.annotate import annotate as annotate
    from hf_datamap.scoring.annotate import fit_panel as fit_panel
    from hf_datamap.scoring.calibrate import CalibrationReport as CalibrationReport
    from hf_datamap.scoring.calibrate import calibration_report as calibration_report
    from hf_datamap.scoring.estimate import Estimate as Estimate
    from hf_datamap.scoring.estimate import estimate as estimate
    from hf_datamap.scoring.executors import Executor as Executor
    from hf_datamap.scoring.executors import Inline as Inline
    from hf_datamap.scoring.executors import Threads as Threads
    from hf_datamap.scoring.files import annotate_files as annotate_files
    from hf_datamap.scoring.openai_batch import BatchJob as BatchJob
    from hf_datamap.scoring.openai_batch import cancel_batch as cancel_batch
    from hf_datamap.scoring.openai_batch import collect_batch as collect_batch
    from hf_datamap.scoring.openai_batch import submit_batch as submit_batch
    from hf_datamap.scoring.score_fn import score_fn as score_fn

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["generate"],
    submod_attrs={
        "curate.audit": ["audit", "fix"],
        "curate.pairs": ["equal_arms", "pair_attributes", "to_pairs"],
        "curate.select": ["select"],
        "data.detect": ["detect_layout"],
        "data.example": ["Example", "Message"],
        "data.group_rows": ["group_rows"],
        "data.inspect": ["inspect_dataset"],
        "data.layout": ["Layout"],
        "data.load": ["load_source"],
        "data.parse": ["parse_layout"],
        "datamap.datamap": ["DataMap"],
        "datamap.index": ["build_index"],
        "datamap.noise": ["noise_split", "without_noise"],
        "datamap.reliability": ["NoiseSplit"],
        "engine.budget": ["Budget", "Prices"],
        "engine.config": ["__version__"],
        "engine.task": ["Score"],
        "errors": [
            "BudgetError",
            "CardError",
            "DataMapError",
            "EndpointError",
            "GateError",
            "GenerateError",
            "HubError",
            "Interrupted",
            "LayoutError",
            "MapError",
            "Overloaded",
            "PairError",
            "RowError",
            "ScorerError",
            "SelectionError",
            "SourceError",
            "StoreError",
            "Unanswered",
        ],
        "publish.load": ["load"],
        "publish.push": ["preview_card", "push_to_hub"],
        "publish.space": ["deploy_space"],
        "scorers.base": ["Scorer"],
        "scorers.columns": ["ColumnScorer"],
        "scorers.constraints.scorer": ["ConstraintScorer"],
        "scorers.embedders": ["RougeL", "SentenceEmbedder", "ServedEmbedder"],
        "scorers.judge": ["LLMJudge"],
        "scorers.local": ["LocalJudge"],
        "scorers.pairwise": ["PairwiseJudge"],
        "scorers.panel": ["Panel"],
        "scorers.reference": ["ReferenceScorer"],
        "scorers.registry": ["auto_scorer"],
        "scorers.reward": ["RewardModel"],
        "scorers.rubrics": ["Criterion", "Rubric"],
        "scorers.writers": ["ReferenceWriter", "RubricWriter"],
        "scoring": ["ray"],
        "scoring.annotate": ["annotate", "fit_panel"],
        "scoring.calibrate": ["CalibrationReport", "calibration_report"],
        "scoring.estimate": ["Estimate", "estimate"],
        "scoring.executors": ["Executor", "Inline", "Threads"],
        "scoring.files": ["annotate_files"],
        "scoring.openai_batch": ["BatchJob", "cancel_batch", "collect_batch", "submit_batch"],
        "scoring.score_fn": ["score_fn"],
    },
)
