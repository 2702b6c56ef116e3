"""Choosing a scorer by what a dataset carries."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hf_datamap.data import Layout, detect_layout
from hf_datamap.engine import config
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.registry import WAYS, parse_scorer

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features, IterableDataset


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``auto`` chose.

    Attributes:
        name: the scorer as ``--scorer`` spells it.
        why: one line.
    """

    name: str
    why: str


def describe_auto(layout: Layout) -> Choice:
    """Say which scorer ``auto`` takes for a layout: what ships with the data first, then what can be checked exactly.

    Raises:
        ScorerError: there is none; lists the ways out.
    """
    if layout.scores:
        return Choice(f"columns:{layout.scores}", f"every response ships with a score ({layout.scores})")
    if layout.constraints:
        return Choice("constraints", f"the prompts carry verifiable constraints ({', '.join(layout.constraints)})")
    if layout.references and find_spec("sentence_transformers"):
        return Choice("reference", f"the prompts carry reference answers ({', '.join(layout.references)})")
    model, url = config.judge_model(), config.base_url()
    if model and (url or config.api_key()):
        return Choice(f"judge:{model}", f"HF_DATAMAP_JUDGE names {model} at {url or 'OpenAI'}")
    if url and len(served := _served(url)) == 1:
        return Choice(f"judge:{served[0]}", f"OPENAI_BASE_URL names {url}, which serves {served[0]} alone")
    raise ScorerError(
        "nothing in this dataset scores its responses, and no judge is named in the environment. The ways out:\n"
        f"{WAYS}\nor set HF_DATAMAP_JUDGE=MODEL beside OPENAI_BASE_URL or OPENAI_API_KEY. No model small enough to be "
        "bundled judges better than chance, so none is."
    )


def _served(url: str) -> list[str]:
    """The models that an endpoint lists; none when it does not say."""
    import httpx2

    headers = {"authorization": f"Bearer {key}"} if (key := config.api_key()) else {}
    try:
        listing = httpx2.get(f"{url.rstrip('/')}/models", headers=headers, timeout=5).json()
        return [str(model["id"]) for model in listing["data"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, KeyError):
        return []


def auto_scorer(
    ds: Dataset | DatasetDict | IterableDataset | Features,
    *,
    layout: Layout | None = None,
    **judge: Any,  # noqa: ANN401 - LLMJudge checks them
) -> Scorer:
    """Return the scorer that fits a dataset, and say in the log which and why.

    In this order: scores that ship per response, verifiable constraints, reference answers (where the extra
    ``reference`` is installed), a judge named in the environment
    (``HF_DATAMAP_JUDGE`` with ``OPENAI_BASE_URL`` or ``OPENAI_API_KEY``; an endpoint that serves a single model needs
    no name).

    Args:
        ds: the dataset, or its features.
        layout: its layout; detected by default.
        judge: options of `LLMJudge`, should it be one.

    Raises:
        LayoutError: the columns fit no layout, or several.
        ScorerError: no scorer fits; lists the ways out.
    """
    choice = describe_auto(layout or detect_layout(ds))
    log.info("scorer %s: %s", choice.name, choice.why)
    return parse_scorer(choice.name, **judge)
