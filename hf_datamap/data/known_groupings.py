"""Known ways to group datasets that hold one response (or one pair) per row. Adding one is adding a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Grouping:
    """How rows become one row per prompt.

    Attributes:
        name: what ``group_rows(ds, grouping=...)`` takes.
        what: the dataset or family it was made for.
        needs: paths that must be there for it to be chosen.
        by: columns whose equal values make a group.
        prompt: column of the prompt.
        responses: paths of the responses in a row: one, or several (pairs), each next to its own annotation.
        annotations: paths of the numbers of each response; with one response per row several are averaged.
            In a ``tree`` they are ranks, lower is better.
        model: column that names who wrote the response, if any.
        references: column of reference answers, if any.
        kind: ``rows``; ``tree`` for message trees; ``chat`` for conversations whose last turn is the response.
    """

    name: str
    what: str
    needs: tuple[str, ...]
    by: tuple[str, ...]
    prompt: str
    responses: tuple[str, ...]
    annotations: tuple[str, ...] = ()
    model: str | None = None
    references: str | None = None
    kind: str = "rows"


GROUPINGS: Final[tuple[Grouping, ...]] = (
    Grouping(
        "oasst", "OpenAssistant/oasst1, oasst2: message trees; siblings answer the same path, rank 0 is best",
        needs=("message_id", "parent_id", "text", "role"),
        by=("parent_id",), prompt="text", responses=("text",), annotations=("rank",), kind="tree",
    ),
    Grouping(
        "helpsteer2", "nvidia/HelpSteer2: rows of one prompt, annotated by helpfulness",
        needs=("prompt", "response", "helpfulness"),
        by=("prompt",), prompt="prompt", responses=("response",), annotations=("helpfulness",),
    ),
    Grouping(
        "shp", "stanfordnlp/SHP: the pairs of a post, annotated by upvotes",
        needs=("post_id", "history", "human_ref_A", "human_ref_B", "score_A", "score_B"),
        by=("post_id",), prompt="history", responses=("human_ref_A", "human_ref_B"), annotations=("score_A", "score_B"),
    ),
    Grouping(
        "alpaca-eval", "tatsu-lab/alpaca_eval: one model per row, annotated by preference over the baseline",
        needs=("instruction", "output_1", "output_2", "generator_2", "preference"),
        by=("instruction",), prompt="instruction", responses=("output_2",), annotations=("preference",),
        model="generator_2",
    ),
    Grouping(
        "ifeval-models", "responses of many models to prompts with verifiable constraints",
        needs=("prompt", "response", "instruction_id_list", "kwargs"),
        by=("prompt", "instruction_id_list", "kwargs"), prompt="prompt", responses=("response",), model="model",
    ),
    Grouping(
        "logickor", "LogicKor: two-turn answers of many models, annotated by the mean of both judge scores",
        needs=("questions", "outputs", "query_single.judge_score", "query_multi.judge_score"),
        by=("questions",), prompt="questions", responses=("outputs",),
        annotations=("query_single.judge_score", "query_multi.judge_score"), model="model", references="references",
    ),
    Grouping(
        "feedback-collection", "prometheus: graded responses with references, annotated by the mean of the grades",
        needs=("instruction", "response", "gpt4_score"),
        by=("instruction",), prompt="instruction", responses=("response",), annotations=("gpt4_score",),
        model="response_source", references="reference_answer",
    ),
    Grouping(
        "kto", "TRL unpaired preference: completions with a boolean label",
        needs=("prompt", "completion", "label"),
        by=("prompt",), prompt="prompt", responses=("completion",), annotations=("label",),
    ),
    Grouping(
        "kto-chat", "unpaired conversations with a boolean label, the last turn is the response",
        needs=("messages", "label"),
        by=("messages",), prompt="messages", responses=("messages",), annotations=("label",), kind="chat",
    ),
)  # fmt: skip
