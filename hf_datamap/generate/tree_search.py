"""`tree_search`: answers sampled along a search tree, so that pairs share a prefix and differ after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data.detect import detect_layout
from hf_datamap.data.example import Example, Message
from hf_datamap.data.values import parse_constraints
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.reply import split_thoughts
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.task import Ask
from hf_datamap.errors import GenerateError, Interrupted, Unanswered
from hf_datamap.generate.rejection import (
    EMPTY,
    THOUGHTS,
    Sampled,
    ask_about_all,
    failure_reason,
    map_samples,
    read_requests,
)
from hf_datamap.generate.sampler import (
    ContinuationSampler,
    Sample,
    Sampler,
    detect_continuation,
    read_self_evaluation,
)
from hf_datamap.generate.tree import Node, Rollout, Step, Tree
from hf_datamap.generate.tree_tables import node_table, with_rollouts
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scorers.constraints.scorer import ConstraintScorer

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.curate.pair_candidates import Contrast

_LEAST_TOKENS: Final = 16  # a continuation may have as many, however long its prefix is


@dataclass(frozen=True, repr=False)
class Searched(Sampled):
    """Responses found by tree search.

    Attributes:
        nodes: every node of every tree: ``source_row``, ``node``, ``parent``, ``depth``, ``start`` and ``end`` (where
            its last step begins and ends in the answer, in characters), ``step``, ``visits``, ``value`` (mean reward),
            ``prior`` and ``asked``. ``dataset`` holds for each response the deepest node that it passes through
            (``response_nodes``), the node that it was drawn from and its number there, its reward, its self-evaluation
            and its log-probability.
    """

    nodes: Dataset

    def pairs(self, contrast: Contrast | None = None, **options: Any) -> Dataset:  # noqa: ANN401 - see sibling_pairs
        """Build pairs from sibling branches; see `hf_datamap.generate.tree_pairs.sibling_pairs`."""
        from hf_datamap.generate.tree_pairs import sibling_pairs

        return sibling_pairs(self.dataset, self.nodes, contrast, **options)


@dataclass(frozen=True)
class SearchOptions:
    """How trees are grown. See `tree_search` for each option.

    Raises:
        GenerateError: an option is out of range.
    """

    iterations: int = 8
    branching: int = 4
    step: Step = "sentence"
    max_depth: int = 16
    c_puct: float = 0.2
    self_weight: float = 0.2
    max_tokens: int = 1024
    tokens_per_prompt: int | None = None

    def __post_init__(self) -> None:
        for name in ("iterations", "branching", "max_depth", "max_tokens"):
            if getattr(self, name) < 1:
                raise GenerateError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if not 0 <= self.self_weight <= 1:
            raise GenerateError(f"self_weight is a share, 0 to 1, not {self.self_weight!r}")
        if self.c_puct < 0:
            raise GenerateError(f"c_puct must not be negative: {self.c_puct!r}")
        if self.tokens_per_prompt is not None and self.tokens_per_prompt < 1:
            raise GenerateError(f"tokens_per_prompt must be at least 1, not {self.tokens_per_prompt!r}")
        if not (self.step in ("sentence", "line") or (isinstance(self.step, int) and self.step >= 1)):
            raise GenerateError(f"step is 'sentence', 'line' or a number of words, not {self.step!r}")


def tree_search(
    prompts: Dataset,
    model: str,
    *,
    iterations: int = 8,
    branching: int = 4,
    step: Step = "sentence",
    max_depth: int = 16,
    c_puct: float = 0.2,
    self_weight: float = 0.2,
    tokens_per_prompt: int | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 1024,
    seed: int = 0,
    scorer: ScorerLike | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    template: str | None = None,
    max_in_flight: int = 64,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> Searched:
    """Search answers to each prompt by Monte Carlo tree search, score them and draw their map.

    One iteration walks down the tree by PUCT to a prefix, draws ``branching`` continuations of it to whole answers,
    scores them with the verifier, mixes in the model's evaluation of itself, and adds the rewards to all nodes above.
    The mixed reward only steers the search; pairs and the map come from the verifier alone. Every sample is stored, so
    that the same call goes on where an earlier one ended. The paper gives none of the parameters; all defaults are
    ours.

    Args:
        prompts: rows with ``prompt`` and constraints; `prompts` makes them. Other columns stay.
        model: model name, as the endpoint spells it.
        iterations: of the search, per prompt; a prompt gets up to ``iterations * branching`` answers.
        branching: how many continuations of the selected prefix one iteration draws.
        step: what a node adds to its parent: a ``sentence``, a ``line``, or so many words.
        max_depth: nodes that are so many steps deep are not drawn from.
        c_puct: weight of exploration in PUCT. Siblings' rewards differ by about 1/k, so 1 would explore almost only.
        self_weight: share w of the self-evaluation: reward = (1 - w) * score + w * P(yes). With 0 it is not asked for.
        tokens_per_prompt: no iteration begins once so many tokens were generated for a prompt.
        temperature: of sampling.
        top_p: nucleus of sampling.
        max_tokens: of a whole answer.
        seed: sample i asks with seed + i, for endpoints that take one; another seed gives other samples.
        scorer: the verifier: a scorer that needs no requests, with scores of 0 to 1; `ConstraintScorer` by default.
        base_url: endpoint; ``OPENAI_BASE_URL`` or OpenAI's own by default. It must be able to continue a given prefix.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        template: a chat as one text, with ``{prompt}``; for endpoints that continue through ``/completions`` only.
        max_in_flight: greatest number of concurrent requests.
        budget: what the search may spend; trees are left as they are when it is reached.
        progress: whether to show a bar on stderr.

    Raises:
        GenerateError: an option is out of range, or the prompts cannot be read.
        EndpointError: the endpoint refuses every request, or does not continue a given prefix.
    """
    # Long: all its options are named and described here. `_grow_trees` does the work.
    options = SearchOptions(iterations, branching, step, max_depth, c_puct, self_weight, max_tokens, tokens_per_prompt)
    verifier = as_scorer(scorer or ConstraintScorer())
    if verifier.way is not Way.INLINE:
        raise GenerateError(f"{type(verifier).__name__} cannot steer a search: the verifier must need no requests")
    sampler = Sampler(
        model,
        base_url=base_url,
        api_key=api_key,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_in_flight=max_in_flight,
        template=template,
    )
    trees, usage = _grow_trees(_read_examples(prompts), sampler, verifier, options, budget=budget, progress=progress)
    settings = {"method": "mcts", **asdict(options), **sampler.settings()}
    mapped = map_samples(with_rollouts(prompts, trees), verifier, usage, budget, settings)
    return Searched(mapped.dataset, mapped.data_map, usage, settings, node_table(trees))


def _grow_trees(
    examples: Sequence[Example],
    sampler: Sampler,
    verifier: Scorer,
    options: SearchOptions,
    *,
    budget: Budget | None,
    progress: bool | None,
) -> tuple[list[Tree], Usage]:
    """Grow one tree per example; several at a time."""
    trees = [Tree(options.step, options.max_depth, options.c_puct) for _ in examples]
    usage = Usage()
    # The first search finds out how the endpoint continues a prefix, the others wait for its result.
    detection: list[asyncio.Task[ContinuationSampler]] = []

    async def search(place: int, example: Example, ask: Ask) -> None:
        if not detection:
            detection.append(asyncio.ensure_future(detect_continuation(sampler, ask)))
        try:
            continuation_sampler = await asyncio.shield(detection[0])
            await _Search(options, continuation_sampler, verifier, example, tree=trees[place], ask=ask).run()
        except (Interrupted, Unanswered):
            return  # the tree stays as far as it has grown
        finally:
            usage.failed.update(kind_of(rollout.problem) for rollout in trees[place].rollouts if rollout.problem)

    ask_about_all(sampler, examples, search, budget=budget, usage=usage, progress=progress)
    for tree in trees:
        tree.resolve()
    return trees, usage


def _read_examples(prompts: Dataset) -> list[Example]:
    """Return prompts with their constraints and without responses."""
    requests = read_requests(prompts)
    if {"instruction_id_list", "kwargs"} <= set(prompts.column_names):
        constraints = list(map(parse_constraints, prompts["instruction_id_list"], prompts["kwargs"]))
    else:
        layout = detect_layout(prompts)
        constraints = [layout.read(row).constraints for row in prompts]
    return [
        Example(tuple(messages), [], constraints=constraints_of_row)
        for messages, constraints_of_row in zip(requests, constraints, strict=True)
    ]


class _Search:
    """The search for answers to one prompt."""

    def __init__(
        self,
        options: SearchOptions,
        continuation_sampler: ContinuationSampler,
        verifier: Scorer,
        example: Example,
        *,
        tree: Tree,
        ask: Ask,
    ) -> None:
        self.options, self.continuation_sampler, self.verifier = options, continuation_sampler, verifier
        self.example, self.tree, self.ask = example, tree, ask
        self.messages: list[Message] = list(example.prompt)
        self.generated_tokens = 0

    async def run(self) -> None:
        """Grow the tree until the iterations or the tokens are used up, or no node is left to draw from.

        Raises:
            Interrupted: the budget is spent.
        """
        rendered = await self.continuation_sampler.render(self.messages, self.ask)
        limit = self.options.tokens_per_prompt
        for _ in range(self.options.iterations):
            if limit is not None and self.generated_tokens >= limit:
                return
            node = self.tree.select()
            if node.closed:
                return
            first, node.asked = node.asked, node.asked + self.options.branching
            results = await asyncio.gather(
                *(self._draw(node, number, rendered) for number in range(first, node.asked)), return_exceptions=True
            )
            rollouts = [result for result in results if isinstance(result, Rollout)]
            self.tree.expand(node, rollouts)
            node.closed = not rollouts
            # Only now, so that what was paid for is in the tree.
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, Unanswered):
                    raise result

    async def _draw(self, node: Node, number: int, rendered: str) -> Rollout:
        """Draw one continuation of a node to a whole answer and evaluate it."""
        prefix = self.tree.text(node)
        max_tokens = max(_LEAST_TOKENS, self.options.max_tokens - node.tokens)
        task = self.continuation_sampler.continuation_task(self.messages, prefix, number, max_tokens, rendered=rendered)
        sample = Sample.from_answer(await self.ask(task))
        self.generated_tokens += sample.tokens
        text, problem = prefix + sample.text, failure_reason(sample)
        if not problem and split_thoughts(text)[0]:
            problem = THOUGHTS  # pairs would share a thought, and constraints would be checked on it
        if problem == EMPTY and prefix:
            problem = ""  # the answer ends with the prefix
        score = self_evaluation = None
        if not problem:
            score = self._verify(text)
            self_evaluation = await self._evaluate_itself(text) if self.options.self_weight else None
        weight = self.options.self_weight if self_evaluation is not None else 0.0
        # An answer that does not end, or that cannot be checked, is worth nothing.
        reward = (1 - weight) * (score or 0.0) + weight * (self_evaluation or 0.0)
        tokens = node.tokens + sample.tokens
        return Rollout(text, tokens, score, self_evaluation, reward, problem, node.id, number, sample.logprob)

    def _verify(self, text: str) -> float | None:
        """Return the verifier's score of an answer, None when it gives none."""
        example = Example(self.example.prompt, [text], constraints=self.example.constraints)
        (score,) = self.verifier.score_inline(example)
        if score.value is not None and not 0 <= score.value <= 1:
            raise GenerateError(f"the verifier gave {score.value}: scores that steer a search are 0 to 1")
        return score.value

    async def _evaluate_itself(self, text: str) -> float | None:
        """Return how sure the model is that its answer does what was asked, None when it does not say."""
        task = self.continuation_sampler.sampler.self_evaluation_task(self.messages, text)
        try:
            return read_self_evaluation(await self.ask(task))
        except Unanswered:
            return None
