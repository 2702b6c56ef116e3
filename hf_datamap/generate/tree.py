"""A search tree over answers to one prompt: which prefix to continue, and what is known of each.

After Kim et al. 2025 (arXiv 2412.15282), whose tree search is described but not specified; where the record is silent
(action length, branching, PUCT constant, prior, rollouts) the choices here are ours and parameters of `tree_search`.
A node is a prefix of an answer, a whole number of steps long. One sampled continuation serves as expansion (its
first step is a child) and as rollout (the whole of it is an answer that the verifier can check), so no token is wasted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Step: TypeAlias = 'Literal["sentence", "line"] | int'

#: A step begins with the white space before it. No prefix ends in a space, because tokenizers join spaces to the word
#: after them and would continue such a prefix with an unlikely token.
_SENTENCE: Final = re.compile(r"\s*(?:\S[^\n]*?[.!?][\"')\]*]*(?=\s|\Z)|\S(?:[^\n]*\S)?)")
_LINE: Final = re.compile(r"\s*\S(?:[^\n]*\S)?")
_WORD: Final = re.compile(r"\s*\S+")


def step_splitter(step: Step) -> Callable[[str, int], int]:
    """Return a function that takes a text and the start of a step in it and returns where that step ends.

    Args:
        step: ``sentence`` (or the rest of a line), ``line``, or a number of words.
    """
    pattern = {"sentence": _SENTENCE, "line": _LINE}.get(str(step), _WORD)
    times = step if isinstance(step, int) else 1

    def end(text: str, start: int) -> int:
        for _ in range(times):
            match = pattern.match(text, start)
            if match is None:
                return len(text)
            start = match.end()
        # White space at the very end belongs to the last step.
        return start if text[start:].strip() else len(text)

    return end


@dataclass(slots=True)
class Rollout:
    """A whole answer.

    Attributes:
        text: the answer, with the prefix that it continues.
        tokens: of the whole answer; those of the prefix are estimated by characters.
        score: the verifier's score; None when the answer is unusable (truncated).
        self_eval: the model's own evaluation, 0 to 1; None when it was not asked or did not say.
        reward: what steers the search: score and self-evaluation mixed.
        problem: why the answer is unusable, else empty.
        origin: the node that it was drawn from.
        sample: its number among the samples drawn from that node.
        logprob: sum of the log-probabilities of the tokens drawn.
        node: the deepest node that it passes through.
    """

    text: str
    tokens: int
    score: float | None
    self_eval: float | None
    reward: float
    problem: str
    origin: int
    sample: int
    logprob: float | None
    node: int = 0


@dataclass(slots=True)
class Node:
    """A prefix of an answer.

    Attributes:
        id: its number in the tree, 0 for the root.
        parent: number of its parent, -1 for the root.
        depth: steps from the root.
        start: where its last step begins in the answer.
        end: where it ends: its text is the first ``end`` characters of any answer through it.
        step: its last step.
        tokens: estimated number of tokens up to its end.
        visits: how many answers pass through it.
        total: sum of their rewards.
        drawn: how many answers through it were drawn from a node above it; its prior is computed from these.
        asked: how many samples were asked for at it.
        expanded: whether its children are known.
        closed: whether nothing can be drawn from it (the deepest level, or an endpoint that gives nothing).
        children: by step.
        waiting: the answers through it whose next step is not a node yet.
    """

    id: int
    parent: int
    depth: int
    start: int
    end: int
    step: str
    tokens: int
    visits: int = 0
    total: float = 0.0
    drawn: int = 0
    asked: int = 0
    expanded: bool = False
    closed: bool = False
    children: dict[str, int] = field(default_factory=dict)
    waiting: list[Rollout] = field(default_factory=list)

    @property
    def value(self) -> float:
        """The mean reward of the answers through it; 0 before there is any."""
        return self.total / self.visits if self.visits else 0.0


class Tree:
    """The tree of one prompt.

    Args:
        step: what a step is.
        max_depth: nodes this deep are not expanded.
        c_puct: weight of exploration.
    """

    def __init__(self, step: Step, max_depth: int, c_puct: float) -> None:
        self.end_of_step = step_splitter(step)
        self.max_depth, self.c_puct = max_depth, c_puct
        self.nodes = [Node(0, -1, 0, 0, 0, "", 0)]
        self.rollouts: list[Rollout] = []

    def select(self) -> Node:
        """Walk from the root by PUCT to the node to draw from; return the root when every branch has ended.

        PUCT as in AlphaZero (Silver et al. 2017, arXiv 1712.01815): Q + c P sqrt(N of the parent) / (1 + N). P, the
        prior of a step, is the share of the parent's samples that begin with it: an estimate of the probability that
        the policy itself gives to the step.
        """
        node = self.nodes[0]
        while node.expanded:
            open_children = [self.nodes[child] for child in node.children.values() if self._open(self.nodes[child])]
            if not open_children:
                break
            parent = node
            node = max(open_children, key=lambda child: (self.puct(parent, child), -child.id))
        return node

    def puct(self, parent: Node, child: Node) -> float:
        """Return the selection score of a child."""
        return child.value + self.c_puct * self.prior(parent, child) * math.sqrt(parent.visits) / (1 + child.visits)

    def prior(self, parent: Node, child: Node) -> float:
        """Return the share of the parent's samples that continue with the child's step."""
        drawn = sum(self.nodes[other].drawn for other in parent.children.values())
        return child.drawn / drawn if drawn else 0.0

    def expand(self, node: Node, rollouts: list[Rollout]) -> None:
        """Add answers drawn from a node to the tree: count them in all nodes above, and make their next steps nodes."""
        node.expanded = True
        earlier, node.waiting = node.waiting, []
        for rollout in earlier:
            self._descend(node, rollout)
        for rollout in rollouts:
            self.rollouts.append(rollout)
            for ancestor in self.path(node.id):
                self.nodes[ancestor].visits += 1
                self.nodes[ancestor].total += rollout.reward
            self._descend(node, rollout)

    def _descend(self, node: Node, rollout: Rollout) -> None:
        """Walk an answer down from ``node`` as far as there are nodes, and add the first one that is missing."""
        while True:
            rollout.node = node.id
            if not node.expanded or node.end >= len(rollout.text):
                break
            end = self.end_of_step(rollout.text, node.end)
            step = rollout.text[node.end : end]
            if step not in node.children:
                tokens = round(rollout.tokens * end / max(1, len(rollout.text)))
                child = Node(len(self.nodes), node.id, node.depth + 1, node.end, end, step, tokens)
                child.closed = child.depth >= self.max_depth
                self.nodes.append(child)
                node.children[step] = child.id
            node = self.nodes[node.children[step]]
            node.drawn += 1
            node.visits += 1
            node.total += rollout.reward
        node.waiting.append(rollout)

    def resolve(self) -> None:
        """Add nodes that no draw needed, until any two answers that differ end in different branches."""
        for node in self.nodes:  # the list grows while it is walked through
            if not node.expanded and sum(len(rollout.text) > node.end for rollout in node.waiting) > 1:
                self.expand(node, [])

    def _open(self, node: Node) -> bool:
        """Return whether anything can be drawn from a node or from below it."""
        if node.expanded:
            return any(self._open(self.nodes[child]) for child in node.children.values())
        # Nothing comes after a node at which every answer through it ends.
        return not node.closed and any(len(rollout.text) > node.end for rollout in node.waiting)

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to a node."""
        upwards = [node]
        while self.nodes[upwards[-1]].parent >= 0:
            upwards.append(self.nodes[upwards[-1]].parent)
        return upwards[::-1]

    def text(self, node: Node) -> str:
        """Return the prefix that a node stands for."""
        return "".join(self.nodes[place].step for place in self.path(node.id))
