"""A judge at a test's own server, and what it makes of rows."""

from __future__ import annotations

from datasets import Dataset

import hf_datamap as dm


def judge_at(server, **options) -> dm.LLMJudge:
    """A judge that asks an `LLMServer`; it retries once, as the tests' servers answer the same way each time."""
    return dm.LLMJudge("judge", **{"base_url": server.url, "logprobs": False, "max_retries": 1, **options})


def annotate(data, scorer, **options):
    """`dm.annotate` of rows, or of a dataset, without its progress bar."""
    ds = Dataset.from_list(data) if isinstance(data, list) else data
    return dm.annotate(ds, scorer, progress=False, **options)
