"""Prompts that stand in evaluation sets: what is measured there was seen in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.contamination import PromptHashes
from hf_datamap.curate.texts.facts import prompt_text
from hf_datamap.data.example import Example


def contaminated_prompts(context: AuditContext, evaluations: Sequence[PromptHashes]) -> None:
    """Prompts that equal one of an evaluation set's, share 13 words in a row with it, or nearly equal it."""
    view, log = context.view, context.log
    if view.layout is None:
        log.left_out["contamination"] = log.not_measured["contamination"] = view.layout_error
        return
    hits = {hashes.name: np.zeros(view.rows, bool) for hashes in evaluations}
    for first, batch in view.batches():
        prompts = [prompt_text(example) if isinstance(example, Example) else "" for example in batch]
        for hashes in evaluations:
            hits[hashes.name][first : first + len(batch)] = hashes.matches(prompts, context.least_similarity)
    rows = np.flatnonzero(np.any(list(hits.values()), axis=0))
    sets = ", ".join(f"{name} {int(flags.sum()):,}" for name, flags in hits.items())
    named = np.array(["" for _ in range(view.rows)], dtype=object)
    for name, flags in hits.items():
        named[flags] = np.where(named[flags] == "", name, named[flags] + f", {name}")
    evidence = context.example_rows(rows)
    for entry, row in zip(evidence, rows.tolist(), strict=False):
        entry["stands in"] = named[row]
    log.rows_finding(
        "contamination",
        rows,
        view.rows,
        f"have a prompt that stands in an evaluation set ({sets})",
        alarm=0.0,
        detail="Equal but for case and white space, 13 words in a row, or nearly equal. Remove these rows before "
        "training, or do not report these evaluations.",
        evidence=evidence,
    )
