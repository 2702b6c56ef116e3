"""`tree_search`: answers sampled along a search tree, so that pairs share a beginning and differ later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import detect_layout
from hf_datamap.data.example import Example, Message
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.task import Ask
from hf_datamap.errors import GenerateError, Interrupted, Unanswered
from hf_datamap.generate.rejection import Sampled, converse, map_samples, problem, read_requests
from hf_datamap.generate.sampler import Continuer, Sample, Sampler, find_way, read_opinion
from hf_datamap.generate.tree import Node, Rollout, Step, Tree
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scorers.constraints import ConstraintScorer, parse_constraints

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.curate.pair_candidates import Contrast

_LEAST_TOKENS: Final = 16  # that a continuation may have, however long its beginning


@dataclass(frozen=True)
class Searched(Sampled):
    """Responses found by tree search.

    Attributes:
        nodes: every node of every tree: ``source_row``, ``node``, ``parent``, ``depth``, ``start`` and ``end`` (its
            last step in the answer, in characters), ``step``, ``visits``, ``value`` (mean reward), ``prior`` and
            ``asked``. ``dataset`` holds for each response the deepest node it passes through (``response_nodes``), the
            node it was drawn from and its number there, its reward, self-evaluation and log-probability.
    """

    nodes: Dataset

    def pairs(self, contrast: Contrast | None = None, **options: Any) -> Dataset:  # noqa: ANN401 - see sibling_pairs
        """Pairs from sibling branches; see `hf_datamap.generate.tree_pairs.sibling_pairs`."""
        from hf_datamap.generate.tree_pairs import sibling_pairs

        return sibling_pairs(self.dataset, self.nodes, contrast, **options)


@dataclass(frozen=True)
class Plan:
    """How trees are grown; see `tree_search`."""

    iterations: int
    branching: int
    step: Step
    max_depth: int
    c_puct: float
    self_weight: float
    max_tokens: int
    tokens_per_prompt: int | None

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

    One iteration walks down by PUCT to a beginning, draws ``branching`` continuations of it to full answers, scores
    these with the verifier, mixes in the model's own opinion, and carries the rewards up. The mixed reward only steers;
    pairs and the map come from the verifier alone. Samples are stored one by one: the same call goes on where an
    earlier one ended. The paper gives none of the parameters; all defaults are ours.

    Args:
        prompts: rows with ``prompt`` and constraints; `prompts` makes them. Other columns stay.
        model: model name, as the endpoint spells it.
        iterations: of the search, per prompt; a prompt gets up to ``iterations * branching`` answers.
        branching: continuations drawn from the selected beginning.
        step: what a node adds: a ``sentence``, a ``line``, or so many words.
        max_depth: steps below which nothing is drawn anew.
        c_puct: weight of exploring in PUCT. Siblings' rewards differ by about 1/k, so 1 would explore almost only.
        self_weight: share w of the model's own opinion: reward = (1 - w) * score + w * P(yes). 0 never asks it.
        tokens_per_prompt: no iteration begins once so many tokens were generated for a prompt.
        temperature: of sampling.
        top_p: nucleus of sampling.
        max_tokens: of a whole answer.
        seed: another seed gives other samples.
        scorer: the verifier: a scorer that needs no requests, with scores of 0 to 1; `ConstraintScorer` by default.
        base_url: endpoint; ``OPENAI_BASE_URL`` or OpenAI's own by default. It must go on with a given beginning.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        template: a chat as one text, with ``{prompt}``; for endpoints that do so through ``/completions`` only.
        max_in_flight: greatest number of concurrent requests.
        budget: what the search may spend; trees are left as they are when it is reached.
        progress: whether to show a bar on stderr.

    Raises:
        GenerateError: an option is out of range, or the prompts cannot be read.
        EndpointError: the endpoint refuses every request, or does not go on with a given beginning.
    """
    plan = Plan(iterations, branching, step, max_depth, c_puct, self_weight, max_tokens, tokens_per_prompt)
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
    examples = _examples(prompts)
    trees = [Tree(step, max_depth, c_puct) for _ in examples]
    ways: dict[str, asyncio.Task[Continuer]] = {}
    usage = Usage()

    async def talk(place: int, example: Example, ask: Ask) -> None:
        if "found" not in ways:
            ways["found"] = asyncio.ensure_future(find_way(sampler, ask))
        try:
            continuer = await asyncio.shield(ways["found"])
            await _Search(plan, continuer, verifier, example, tree=trees[place], ask=ask).run()
        except (Interrupted, Unanswered):
            return  # the tree stays as far as it got
        finally:
            usage.failed.update(kind_of(rollout.problem) for rollout in trees[place].rollouts if rollout.problem)

    converse(sampler, examples, talk, budget=budget, usage=usage, progress=progress)
    for tree in trees:
        tree.resolve()
    settings = {
        "method": "mcts",
        **{name: getattr(plan, name) for name in Plan.__dataclass_fields__},
        **sampler.identity,
    }
    done = map_samples(_with_rollouts(prompts, trees), verifier, usage, budget, settings)
    return Searched(done.dataset, done.data_map, usage, settings, _node_table(trees))


def _examples(prompts: Dataset) -> list[Example]:
    requests = read_requests(prompts)
    if {"instruction_id_list", "kwargs"} <= set(prompts.column_names):
        told = zip(prompts["instruction_id_list"], prompts["kwargs"], strict=True)
        found = [parse_constraints(ids, kwargs) for ids, kwargs in told]
    else:
        layout = detect_layout(prompts)
        found = [layout.read(row).constraints for row in prompts]
    return [
        Example(tuple(messages), [], constraints=constraints)
        for messages, constraints in zip(requests, found, strict=True)
    ]


class _Search:
    """The search for answers to one prompt."""

    def __init__(
        self, plan: Plan, continuer: Continuer, verifier: Scorer, example: Example, *, tree: Tree, ask: Ask
    ) -> None:
        self.plan, self.continuer, self.verifier = plan, continuer, verifier
        self.example, self.tree, self.ask = example, tree, ask
        self.messages: list[Message] = list(example.prompt)
        self.spent = 0

    async def run(self) -> None:
        """Grow the tree until the iterations or the tokens are used up, or nothing is left to draw from.

        Raises:
            Interrupted: the budget is spent.
        """
        rendered = await self.continuer.rendered(self.messages, self.ask)
        limit = self.plan.tokens_per_prompt
        for _ in range(self.plan.iterations):
            if limit is not None and self.spent >= limit:
                return
            node = self.tree.select()
            if node.closed:
                return
            first, node.asked = node.asked, node.asked + self.plan.branching
            drawn = await asyncio.gather(
                *(self._draw(node, number, rendered) for number in range(first, node.asked)), return_exceptions=True
            )
            rollouts = [rollout for rollout in drawn if isinstance(rollout, Rollout)]
            self.tree.expand(node, rollouts)
            node.closed = not rollouts
            for trouble in drawn:
                if isinstance(trouble, BaseException) and not isinstance(trouble, Unanswered):
                    raise trouble

    async def _draw(self, node: Node, number: int, rendered: str) -> Rollout:
        """Draw and judge one continuation of a node."""
        prefix = self._text(node)
        most = max(_LEAST_TOKENS, self.plan.max_tokens - node.tokens)
        task = self.continuer.onward(self.messages, prefix, number, most, rendered=rendered)
        sample = Sample.of(await self.ask(task))
        self.spent += sample.tokens
        text, trouble = prefix + sample.text, problem(sample)
        if trouble == "empty" and prefix:
            trouble = ""  # the answer ends with its beginning
        if trouble:
            return self._rollout(node, number, text, sample, trouble=trouble)
        score = self._verified(text)
        opinion = await self._opinion(text) if self.plan.self_weight else None
        return self._rollout(node, number, text, sample, score=score, opinion=opinion)

    def _rollout(
        self,
        node: Node,
        number: int,
        text: str,
        sample: Sample,
        *,
        trouble: str = "",
        score: float | None = None,
        opinion: float | None = None,
    ) -> Rollout:
        weight = self.plan.self_weight if opinion is not None else 0.0
        # An answer that does not end, or that cannot be checked, is worth nothing.
        reward = (1 - weight) * (score or 0.0) + weight * (opinion or 0.0)
        tokens = node.tokens + sample.tokens
        return Rollout(text, tokens, score, opinion, reward, trouble, node.id, number, sample.logprob)

    def _text(self, node: Node) -> str:
        steps = [self.tree.nodes[place].step for place in self.tree.path(node.id)]
        return "".join(steps)

    def _verified(self, text: str) -> float | None:
        example = Example(self.example.prompt, [text], constraints=self.example.constraints)
        (score,) = self.verifier.score_inline(example)
        if score.value is not None and not 0 <= score.value <= 1:
            raise GenerateError(f"the verifier gave {score.value}: scores that steer a search are 0 to 1")
        return score.value

    async def _opinion(self, text: str) -> float | None:
        try:
            return read_opinion(await self.ask(self.continuer.sampler.opinion(self.messages, text)))
        except Unanswered:
            return None


def _with_rollouts(prompts: Dataset, trees: Sequence[Tree]) -> Dataset:
    from datasets import List, Value

    columns: Mapping[str, tuple[Any, Any]] = {
        "responses": (Value("string"), lambda r: None if r.problem else r.text),
        "response_errors": (Value("string"), lambda r: r.problem),
        "response_nodes": (Value("int32"), lambda r: r.node),
        "response_origins": (Value("int32"), lambda r: r.origin),
        "response_samples": (Value("int32"), lambda r: r.sample),
        "response_rewards": (Value("float32"), lambda r: r.reward),
        "response_self_evals": (Value("float32"), lambda r: r.self_eval),
        "response_logprobs": (Value("float32"), lambda r: r.logprob),
        "response_tokens": (Value("int32"), lambda r: r.tokens),
    }
    ds = prompts.remove_columns([name for name in columns if name in prompts.column_names])
    for name, (kind, read) in columns.items():
        ds = ds.add_column(name, [[read(rollout) for rollout in tree.rollouts] for tree in trees], feature=List(kind))
    return ds


def _node_table(trees: Sequence[Tree]) -> Dataset:
    from datasets import Dataset, Features, Value

    whole, real, text = Value("int32"), Value("float32"), Value("string")
    features = Features(
        {
            "source_row": Value("int64"), "node": whole, "parent": whole, "depth": whole, "start": whole, "end": whole,
            "step": text, "visits": whole, "value": real, "prior": real, "asked": whole,
        }
    )  # fmt: skip
    rows = [
        {
            "source_row": row,
            "node": node.id,
            "parent": node.parent,
            "depth": node.depth,
            "start": node.start,
            "end": node.end,
            "step": node.step,
            "visits": node.visits,
            "value": node.value,
            "prior": tree.prior(tree.nodes[node.parent], node) if node.parent >= 0 else 1.0,
            "asked": node.asked,
        }
        for row, tree in enumerate(trees)
        for node in tree.nodes
    ]
    return Dataset.from_list(rows, features=features)
