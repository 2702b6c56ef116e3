"""Scorers by their names: what ``--scorer`` spells, and what ``auto`` chooses for a dataset."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data.detect import detect_layout
from hf_datamap.engine import config, served_models
from hf_datamap.errors import ScorerError, did_you_mean
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.columns import ColumnScorer

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features, IterableDataset

    from hf_datamap.data.layout import Layout
    from hf_datamap.scorers.constraints.scorer import Mode
    from hf_datamap.scorers.embedders import Similarity
    from hf_datamap.scorers.reference import ReferenceScorer

log = logging.getLogger(__name__)

SPELLINGS: Final = """\
judge:MODEL          a language model behind an OpenAI-compatible endpoint (--base-url, OPENAI_API_KEY)
pairwise:MODEL       the same model compares responses two at a time (-o comparisons=N for fewer than all pairs)
constraints[:loose]  verifiable constraints (IFEval, M-IFEval, IFBench) that the rows carry (-o behaviour=published,
                     -o upstream_regex=true, -o strip_thoughts=true)
local:PATH.gguf      a judge from a GGUF file, served in this process; needs hf_datamap[local]
reward:MODEL[@URL]   a reward model (Hub id or path), needs hf_datamap[reward]; with @URL one that vLLM serves there
                     (-o server=tei: Text Embeddings Inference)
reference[:COLUMN][@EMBEDDER[@URL]]
                     likeness to a reference answer; @rouge-l goes without embedder, @URL asks an OpenAI-compatible
                     server for embeddings, -o writer=MODEL lets a model (--base-url) write what is missing; needs
                     hf_datamap[reference]
columns:PATH         scores that ship with the data, for example columns:completions[].overall_score
A+B                  several of them as a panel, each standardised (-o standardise=rank, -o combine=median, and
                     -o columns=true for each one's own scores)"""

_KINDS: Final = ("judge", "pairwise", "reward", "reference", "constraints", "columns", "local")
_BETWEEN_MEMBERS: Final = re.compile(rf"\+(?=(?:{'|'.join(_KINDS)})(?:[:+@]|$))")
_SERVED: Final = re.compile(r"(.+)@(https?://\S+)\Z")
#: Options that ``-o`` does not set: a secret stays in the environment, the others have a flag of their own.
_NOT_BY_NAME: Final = {"api_key", "base_url", "max_in_flight"}
_PANEL_OPTIONS: Final = {"standardise", "combine", "columns"}


@dataclass(frozen=True, slots=True)
class _Factory:
    """How one scorer is made.

    Attributes:
        text: the scorer as it was spelled.
        make: makes it from its options.
        options: names of the options that it takes.
    """

    text: str
    make: Callable[..., Scorer]
    options: frozenset[str] = frozenset()

    def __call__(self, options: Mapping[str, Any]) -> Scorer:
        """Make the scorer from those of the options that it takes.

        Raises:
            ScorerError: an option has a wrong value.
        """
        own = {name: value for name, value in options.items() if name in self.options}
        try:
            return self.make(**own)
        except (TypeError, ValueError) as error:  # a word where a number belongs
            raise ScorerError(f"{self.text}: {', '.join(f'{k}={v}' for k, v in own.items())}: {error}") from None


def parse_scorer(text: str, options: Mapping[str, Any] | None = None, **judge: Any) -> Scorer:  # noqa: ANN401
    """Return the scorer that ``--scorer`` names (not ``auto``).

    Args:
        text: as `SPELLINGS` lists them; several joined by ``+`` are a panel.
        options: further options of the scorer, as Python spells them; in a panel each goes to all that know it.
        judge: options of `LLMJudge`, for judges; other scorers do without.

    Raises:
        ScorerError: no such scorer, or its options are wrong.
    """
    options = options or {}
    factories = [_factory(member, judge) for member in _BETWEEN_MEMBERS.split(text.strip())]
    is_panel = len(factories) > 1
    known = set().union(*(factory.options for factory in factories)) | (_PANEL_OPTIONS if is_panel else set())
    if unknown := sorted(options.keys() - known):
        raise ScorerError(
            f"{text} has no option {', '.join(unknown)}. "
            + did_you_mean(unknown[0], known, f"Its options: {', '.join(sorted(known)) or 'none'}")
        )
    members = [factory(options) for factory in factories]
    if not is_panel:
        return members[0]
    from hf_datamap.scorers.panel import Panel

    return Panel(members, **{name: value for name, value in options.items() if name in _PANEL_OPTIONS})


# Scorers are imported where they are made: scores that ship with the data need no HTTP client, no constraints.
def _factory(text: str, judge: Mapping[str, Any]) -> _Factory:
    kind, _, rest = text.partition(":")
    if rest and kind in _WITH_MODEL:
        return _WITH_MODEL[kind](text, rest, judge)
    if kind.partition("@")[0] == "reference":
        return _reference(text, text.removeprefix("reference").removeprefix(":"), judge)
    if kind == "constraints" and rest in ("", "strict", "loose"):
        from hf_datamap.scorers.constraints.scorer import ConstraintScorer

        mode: Mode = "loose" if rest == "loose" else "strict"
        return _Factory(text, lambda **own: ConstraintScorer(mode, **own), _options_of(ConstraintScorer))
    if kind == "columns":
        return _Factory(text, lambda: ColumnScorer(rest or None))
    every = f"There are:\nauto                 what fits the data\n{SPELLINGS}"
    kinds = ("auto", "columns", "constraints", "reference", *_WITH_MODEL)
    raise ScorerError(f"there is no scorer {text!r}. {did_you_mean(kind, kinds, every)}")


def _options_of(make: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(make).parameters.values()
    return frozenset({p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - _NOT_BY_NAME)


def _judge(text: str, model: str, judge: Mapping[str, Any]) -> _Factory:
    """``MODEL``."""
    from hf_datamap.scorers.judge import LLMJudge

    return _Factory(text, lambda **own: LLMJudge(model, **{**judge, **own}), _options_of(LLMJudge))


def _local(text: str, path: str, judge: Mapping[str, Any]) -> _Factory:
    """``PATH``."""
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scorers.local import LocalJudge

    shared = {name: value for name, value in judge.items() if name not in _NOT_BY_NAME}
    options = _options_of(LocalJudge) | _options_of(LLMJudge)
    return _Factory(text, lambda **own: LocalJudge(path, **{**shared, **own}), options)


def _pairwise(text: str, model: str, judge: Mapping[str, Any]) -> _Factory:
    """``MODEL``; of a judge's options those that a comparison has."""
    from hf_datamap.scorers.pairwise import PairwiseJudge

    options = _options_of(PairwiseJudge)
    if unknown := sorted(judge.keys() - options - _NOT_BY_NAME):
        raise ScorerError(f"{text} has no option {', '.join(unknown)}; its options: {', '.join(sorted(options))}")
    return _Factory(text, lambda **own: PairwiseJudge(model, **{**judge, **own}), options)


def _reward(text: str, name: str, judge: Mapping[str, Any]) -> _Factory:
    """``MODEL[@URL]``."""
    from hf_datamap.scorers.reward import RewardModel

    served = _SERVED.match(name)
    model, url = served.groups() if served else (name, None)
    shared = {key: value for key, value in judge.items() if served and key == "max_in_flight"}
    return _Factory(text, lambda **own: RewardModel(model, base_url=url, **shared, **own), _options_of(RewardModel))


_WITH_MODEL: Final[Mapping[str, Callable[[str, str, Mapping[str, Any]], _Factory]]] = {
    "judge": _judge,
    "local": _local,
    "pairwise": _pairwise,
    "reward": _reward,
}


def _reference(text: str, name: str, judge: Mapping[str, Any]) -> _Factory:
    """``[COLUMN][@EMBEDDER[@URL]]``."""
    from hf_datamap.scorers.embedders import DEFAULT_EMBEDDER, RougeL, SentenceEmbedder, ServedEmbedder
    from hf_datamap.scorers.reference import ReferenceScorer
    from hf_datamap.scorers.writers import ReferenceWriter

    column, _, embedder = name.partition("@")
    served = _SERVED.match(embedder)
    by_words = embedder.lower() in ("rouge-l", "rougel")
    options = frozenset() if by_words else _options_of(ServedEmbedder if served else SentenceEmbedder)

    def make(*, writer: str | None = None, text_only: bool = False, **own: Any) -> ReferenceScorer:  # noqa: ANN401 - the embedder checks them
        similarity: Similarity
        if served:
            similarity = ServedEmbedder(served[1], base_url=served[2], **own)
        elif by_words:
            similarity = RougeL()
        else:
            similarity = SentenceEmbedder(embedder or DEFAULT_EMBEDDER, **own)
        author = ReferenceWriter(str(writer), base_url=judge.get("base_url")) if writer else None
        return ReferenceScorer(column or None, similarity=similarity, writer=author, text_only=text_only)

    return _Factory(text, make, options | {"writer", "text_only"})


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """What ``auto`` chose.

    Attributes:
        name: the scorer as ``--scorer`` spells it.
        why: one line.
    """

    name: str
    why: str


def describe_auto(layout: Layout) -> AutoChoice:
    """Say which scorer ``auto`` takes for a layout: what ships with the data first, then what can be checked exactly.

    Raises:
        ScorerError: there is none; lists the ways out.
    """
    if layout.scores:
        return AutoChoice(f"columns:{layout.scores}", f"every response ships with a score ({layout.scores})")
    if layout.constraints:
        return AutoChoice("constraints", f"the prompts carry verifiable constraints ({', '.join(layout.constraints)})")
    if layout.references and find_spec("sentence_transformers"):
        return AutoChoice("reference", f"the prompts carry reference answers ({', '.join(layout.references)})")
    model, url = config.judge_model(), config.base_url()
    if model and (url or config.api_key()):
        return AutoChoice(f"judge:{model}", f"HF_DATAMAP_JUDGE names {model} at {url or 'OpenAI'}")
    if url and len(served := _served_models(url)) == 1:
        return AutoChoice(f"judge:{served[0]}", f"OPENAI_BASE_URL names {url}, which serves {served[0]} alone")
    raise ScorerError(
        "nothing in this dataset scores its responses, and no judge is named in the environment. The ways out:\n"
        f"{SPELLINGS}\nor set HF_DATAMAP_JUDGE=MODEL beside OPENAI_BASE_URL or OPENAI_API_KEY. No model small enough "
        "to be bundled judges better than chance, so none is."
    )


def _served_models(url: str) -> list[str]:
    """The models that an endpoint lists; none when it does not say."""
    try:
        return served_models.listed(served_models.ask_models(url)[1])
    except (OSError, ValueError):
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
