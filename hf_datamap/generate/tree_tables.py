"""Search trees as tables: the responses with where they come from, and the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_datamap.generate.tree import Rollout, Tree

if TYPE_CHECKING:
    from datasets import Dataset


def with_rollouts(prompts: Dataset, trees: Sequence[Tree]) -> Dataset:
    """Return the prompts with a list per column of what the search found: ``responses`` and where they come from."""
    from datasets import List, Value

    columns: Mapping[str, tuple[Any, Callable[[Rollout], Any]]] = {
        "responses": (Value("string"), lambda rollout: None if rollout.problem else rollout.text),
        "response_errors": (Value("string"), lambda rollout: rollout.problem),
        "response_nodes": (Value("int32"), lambda rollout: rollout.node),
        "response_origins": (Value("int32"), lambda rollout: rollout.origin),
        "response_samples": (Value("int32"), lambda rollout: rollout.sample),
        "response_rewards": (Value("float32"), lambda rollout: rollout.reward),
        "response_self_evals": (Value("float32"), lambda rollout: rollout.self_eval),
        "response_logprobs": (Value("float32"), lambda rollout: rollout.logprob),
        "response_tokens": (Value("int32"), lambda rollout: rollout.tokens),
    }
    dataset = prompts.remove_columns([name for name in columns if name in prompts.column_names])
    for name, (value_type, read) in columns.items():
        values = [[read(rollout) for rollout in tree.rollouts] for tree in trees]
        dataset = dataset.add_column(name, values, feature=List(value_type))
    return dataset


def node_table(trees: Sequence[Tree]) -> Dataset:
    """Return one row per node; ``source_row`` is the number of its tree."""
    from datasets import Dataset, Features, Value

    integer, real = Value("int32"), Value("float32")
    features = Features(
        {
            "source_row": Value("int64"),
            "node": integer,
            "parent": integer,
            "depth": integer,
            "start": integer,
            "end": integer,
            "step": Value("string"),
            "visits": integer,
            "value": real,
            "prior": real,
            "asked": integer,
        }
    )
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
