"""Scorers by their names on the command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hf_datamap.errors import ScorerError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.columns import ColumnScorer
from hf_datamap.scorers.constraints import ConstraintScorer
from hf_datamap.scorers.embedders import DEFAULT_EMBEDDER, RougeL, SentenceEmbedder, ServedEmbedder, Similarity
from hf_datamap.scorers.judge import LLMJudge
from hf_datamap.scorers.local import LocalJudge
from hf_datamap.scorers.panel import Panel
from hf_datamap.scorers.reference import ReferenceScorer, ReferenceWriter
from hf_datamap.scorers.reward import RewardModel

WAYS: Final = """judge:MODEL          a language model behind an OpenAI-compatible endpoint (--base-url, OPENAI_API_KEY)
constraints[:loose]  verifiable constraints (IFEval) that the rows carry
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

_MEMBERS: Final = re.compile(r"\+(?=(?:judge|reward|reference|constraints|columns|local)(?:[:+@]|$))")
_SERVED: Final = re.compile(r"(.+)@(https?://\S+)\Z")
_NEVER: Final = {"api_key", "base_url", "max_in_flight"}  # secrets stay in the environment; the others have a flag
_PANEL: Final = {"standardise", "combine", "columns"}


def parse_scorer(text: str, options: Mapping[str, Any] | None = None, **judge: Any) -> Scorer:  # noqa: ANN401
    """Return the scorer that ``--scorer`` names (not ``auto``).

    Args:
        text: as `WAYS` lists them; several joined by ``+`` are a panel.
        options: further options of the scorer, as Python spells them; in a panel each goes to all that know it.
        judge: options of `LLMJudge`, for judges; other scorers do without.

    Raises:
        ScorerError: no such scorer, or its options are wrong.
    """
    members, given = _MEMBERS.split(text.strip()), dict(options or {})
    makers = [_maker(member, judge) for member in members]
    known = [names for names, _ in makers] + ([_PANEL] if len(members) > 1 else [])
    if unknown := sorted(given.keys() - set().union(*known)):
        there = ", ".join(sorted(set().union(*known))) or "none"
        raise ScorerError(f"{text} has no option {', '.join(unknown)}; its options: {there}")
    seated: list[Any] = [
        _made(member, make, {name: value for name, value in given.items() if name in names})
        for member, (names, make) in zip(members, makers, strict=True)
    ]
    if len(seated) == 1:
        return seated[0]  # type: ignore[no-any-return] # one of Scorer
    return Panel(seated, **{name: value for name, value in given.items() if name in _PANEL})


def _made(text: str, make: Callable[..., Scorer], options: Mapping[str, Any]) -> Scorer:
    try:
        return make(**options)
    except (TypeError, ValueError) as error:  # a word where a number belongs
        raise ScorerError(f"{text}: {', '.join(f'{k}={v}' for k, v in options.items())}: {error}") from None


def _maker(text: str, judge: Mapping[str, Any]) -> tuple[set[str], Callable[..., Scorer]]:
    """Names of a scorer's options, and what makes it from them."""
    kind, _, rest = text.partition(":")
    if kind == "judge" and rest:
        return _options(LLMJudge), lambda **given: LLMJudge(rest, **{**judge, **given})
    if kind == "local" and rest:
        known = {name: value for name, value in judge.items() if name not in _NEVER}
        return _options(LocalJudge) | _options(LLMJudge), lambda **given: LocalJudge(rest, **{**known, **given})
    if kind == "reward" and rest:
        return _reward(rest, judge)
    if kind.partition("@")[0] == "reference":
        return _reference(text.removeprefix("reference").removeprefix(":"), judge)
    if kind == "constraints" and rest in ("", "strict", "loose"):
        return set(), lambda: ConstraintScorer("loose" if rest == "loose" else "strict")
    if kind == "columns":
        return set(), lambda: ColumnScorer(rest or None)
    raise ScorerError(f"there is no scorer {text!r}. There are:\nauto                 what fits the data\n{WAYS}")


def _options(maker: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(maker).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} - _NEVER


def _reward(text: str, judge: Mapping[str, Any]) -> tuple[set[str], Callable[..., Scorer]]:
    served = _SERVED.match(text)
    model, where = served.groups() if served else (text, None)
    wide = {name: value for name, value in judge.items() if served and name == "max_in_flight"}
    return _options(RewardModel), lambda **given: RewardModel(model, base_url=where, **wide, **given)


def _reference(text: str, judge: Mapping[str, Any]) -> tuple[set[str], Callable[..., Scorer]]:
    """``[COLUMN][@EMBEDDER[@URL]]``."""
    column, _, embedder = text.partition("@")
    served = _SERVED.match(embedder)
    known = (
        set() if embedder.lower() in ("rouge-l", "rougel") else _options(ServedEmbedder if served else SentenceEmbedder)
    )

    def make(*, writer: str | None = None, **given: Any) -> ReferenceScorer:  # noqa: ANN401 - the embedder checks them
        similarity: Similarity
        if served:
            similarity = ServedEmbedder(served[1], base_url=served[2], **given)
        elif not known:
            similarity = RougeL()
        else:
            similarity = SentenceEmbedder(embedder or DEFAULT_EMBEDDER, **given)
        author = ReferenceWriter(str(writer), base_url=judge.get("base_url")) if writer else None
        return ReferenceScorer(column or None, similarity=similarity, writer=author)

    return known | {"writer"}, make
