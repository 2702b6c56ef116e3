"""`rejection_sampling`: N answers to each prompt, scored; pairs are chosen among them (Kim et al. 2025)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data.example import Message
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.run import Talk, kind_of
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import Ask
from hf_datamap.errors import GenerateError, Interrupted, Unanswered
from hf_datamap.generate.pair_counts import Yield, count_yields
from hf_datamap.generate.sampler import Sample, Sampler
from hf_datamap.scorers.constraints.scorer import ConstraintScorer

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.curate.pair_candidates import Contrast
    from hf_datamap.scorers.base import ScorerLike

#: Why a sample is unusable.
TRUNCATED: Final = "truncated: it ran out of tokens before it was done; raise max_tokens"
REFUSED: Final = "refused"
EMPTY: Final = "empty"
THOUGHTS: Final = (
    "thoughts in the answer: tree search goes on with beginnings of answers; switch thinking off at the server, or "
    "sample whole answers (--method rs), which keeps thoughts apart"
)


@dataclass(frozen=True, repr=False)
class Sampled:
    """Responses that a model gave, scored and mapped.

    Attributes:
        dataset: the prompts with ``responses``, ``response_errors`` (why a response is missing, else empty) and the
            columns of the map.
        data_map: the map.
        usage: what the sampling cost.
        settings: how it was done.
    """

    dataset: Dataset
    data_map: DataMap
    usage: Usage
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        prompts, tokens = len(self.dataset), self.usage.output_tokens
        return f"{type(self).__name__}(prompts={prompts}, method={self.settings.get('method')!r}, tokens={tokens})"

    @property
    def yields(self) -> list[Yield]:
        """The numbers of prompts and pairs for each (k, c, r); empty when the prompts have no constraints."""
        return count_yields(self.dataset)

    def pairs(self, contrast: Contrast | None = None, **options: Any) -> Dataset:  # noqa: ANN401 - see to_pairs
        """Build pairs of a contrast, ordered by the scores; options as in `hf_datamap.to_pairs`."""
        from hf_datamap.curate.pairs import to_pairs

        return to_pairs(self.dataset, contrast, **{"labels": "scores"} | options)


def rejection_sampling(
    prompts: Dataset,
    model: str,
    *,
    n: int = 32,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 1024,
    seed: int = 0,
    scorer: ScorerLike | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_in_flight: int = 64,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> Sampled:
    """Sample ``n`` responses to each prompt, score them and draw their map.

    Every sample is stored as soon as it arrives (with its text, unlike the texts that are scored), so that the same
    call goes on where an earlier one ended. Samples that were truncated, refused or empty become null, and
    ``response_errors`` says why. The paper's gains level off at N = 32; temperature and top-p are our choice.

    Args:
        prompts: rows with ``prompt`` (text or messages); `prompts` makes them. Other columns stay.
        model: model name, as the endpoint spells it.
        n: samples per prompt.
        temperature: of sampling.
        top_p: nucleus of sampling.
        max_tokens: of a response; longer ones are truncated.
        seed: sample i asks with seed + i, for endpoints that take one; another seed gives other samples.
        scorer: any scorer; `ConstraintScorer` by default.
        base_url: endpoint; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        max_in_flight: greatest number of concurrent requests.
        budget: what the sampling may spend; samples beyond it are left out, and said so.
        progress: whether to show a bar on stderr.

    Raises:
        GenerateError: an option is out of range, the prompts have no column ``prompt``, or there are none.
        EndpointError: the endpoint refuses every request.
    """
    # Long: all its options are named and described here.
    if n < 1 or max_tokens < 1:
        raise GenerateError(f"n and max_tokens are at least 1, not {n} and {max_tokens}")
    sampler = Sampler(
        model,
        base_url=base_url,
        api_key=api_key,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_in_flight=max_in_flight,
    )
    requests = read_requests(prompts)
    samples: list[list[Sample | str]] = [[] for _ in requests]
    usage = Usage()

    async def draw_all(place: int, messages: Sequence[Message], ask: Ask) -> None:
        draws = (_draw(sampler, messages, index, max_tokens, ask) for index in range(n))
        samples[place] = list(await asyncio.gather(*draws))
        usage.failed.update(kind_of(reason) for reason in map(failure_reason, samples[place]) if reason)

    ask_about_all(sampler, requests, draw_all, budget=budget, usage=usage, progress=progress)
    if not usage.requests + usage.from_store and requests:
        raise GenerateError(f"nothing was sampled: {usage.stopped or 'no request was sent'}")
    settings = {"method": "rs", "n": n, "max_tokens": max_tokens, **sampler.settings()}
    return map_samples(with_responses(prompts, samples), scorer, usage, budget, settings)


async def _draw(sampler: Sampler, messages: Sequence[Message], index: int, max_tokens: int, ask: Ask) -> Sample | str:
    """Return a sample, or why there is none."""
    try:
        return Sample.from_answer(await ask(sampler.answer_task(messages, index, max_tokens)))
    except (Unanswered, Interrupted) as error:
        return str(error)


def ask_about_all(
    sampler: Sampler,
    items: Sequence[Any],
    ask_about: Talk,
    *,
    budget: Budget | None,
    usage: Usage,
    progress: bool | None,
) -> None:
    """Call ``ask_about`` with the place of every item, the item, and a function that asks the model; show a bar.

    Many items are in work at the same moment. What is spent is counted in ``usage``.
    """
    from hf_datamap.scoring.progress import Progress

    bar = Progress(usage, len(items), progress, "asking")
    try:
        engine().converse(sampler, items, ask_about, budget=budget, usage=usage, poll=bar.show)
    finally:
        bar.close()


def failure_reason(sample: Sample | str) -> str:
    """Return why a sample is unusable; empty when it is a response."""
    if isinstance(sample, str):
        return sample
    if sample.finish == "length":
        return TRUNCATED
    if sample.finish == "refused":
        return REFUSED
    return "" if sample.text.strip() else EMPTY


def read_requests(prompts: Dataset) -> list[list[Message]]:
    """Return the prompts as messages.

    Raises:
        GenerateError: there is no column ``prompt`` with texts or messages, or no row.
    """
    if "prompt" not in (prompts.column_names or []):
        raise GenerateError(f"the prompts have no column 'prompt'; there are: {', '.join(prompts.column_names or [])}")
    if not len(prompts):
        raise GenerateError("there are no prompts")
    return [_read_messages(row, prompt) for row, prompt in enumerate(prompts["prompt"])]


def _read_messages(row: int, prompt: object) -> list[Message]:
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt):
        messages: list[Message] = [
            {"role": str(message.get("role")), "content": str(message.get("content"))} for message in prompt
        ]
        if messages[-1]["role"] == "user":
            return messages
    raise GenerateError(
        f"row {row}: prompt is neither text nor messages that end with the user's: {str(prompt)[:80]!r}"
    )


def with_responses(prompts: Dataset, samples: Sequence[Sequence[Sample | str]]) -> Dataset:
    """Return the prompts with columns ``responses`` (null where a sample is unusable) and ``response_errors``."""
    from datasets import List, Value

    errors = [[failure_reason(sample) for sample in row] for row in samples]
    texts = [
        [
            sample.text if isinstance(sample, Sample) and not error else None
            for sample, error in zip(row, row_errors, strict=True)
        ]
        for row, row_errors in zip(samples, errors, strict=True)
    ]
    kept = prompts.remove_columns([name for name in ("responses", "response_errors") if name in prompts.column_names])
    strings = List(Value("string"))
    return kept.add_column("responses", texts, feature=strings).add_column("response_errors", errors, feature=strings)


def map_samples(
    dataset: Dataset, scorer: ScorerLike | None, usage: Usage, budget: Budget | None, settings: Mapping[str, Any]
) -> Sampled:
    """Score the responses and fit their map.

    Raises:
        GenerateError: there is not one response.
    """
    from hf_datamap.scoring.annotate import annotate

    if not any(response for row in dataset["responses"] for response in row):
        reasons = Counter(error for row in dataset["response_errors"] for error in row)
        main_reasons = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(3)) or usage.stopped
        raise GenerateError(f"no response came of {len(dataset):,} prompts ({main_reasons})")
    spent = usage.summary(budget.prices if budget else None)
    source = {"generated": dict(settings), "usage": spent}
    mapped, data_map = annotate(dataset, scorer or ConstraintScorer(), source=source, progress=False)
    return Sampled(mapped, data_map, usage, settings)
