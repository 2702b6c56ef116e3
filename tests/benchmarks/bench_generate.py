"""Constraint prompts: time, balance, satisfiable. Tree search against rejection sampling at equal tokens.

The search is measured on a scripted server: answers of six lines, each meets its constraint with chance 0.4, so that
sampling finds a full score with chance 1 - (1 - 0.4**6)**n per prompt.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

from datasets import Dataset

from hf_datamap.curate.pairs import to_pairs
from hf_datamap.generate import prompts, rejection_sampling, tree_search
from hf_datamap.generate.constraint_sets import KINDS, LONERS
from hf_datamap.generate.study import SHARED_PREFIX_RATIO
from hf_datamap.scorers.constraints import Checker, parse_constraints
from tests.benchmarks.figure import Figure
from tests.servers.llm import LLMServer
from tests.servers.sampling import StepModel, constraints


def figures() -> Iterator[Figure]:
    yield from prompt_figures()
    with tempfile.TemporaryDirectory() as store, patched("HF_DATAMAP_CACHE", store):
        yield from search_figures()
        yield from sampling_figures()


def prompt_figures() -> Iterator[Figure]:
    start = time.process_time()
    ds = prompts(48_000, seed=1, witness=True)
    took = time.process_time() - start
    unique, bases = len(set(ds["prompt"])), len(set(ds["base"]))
    note = f"{unique:,} different prompts, {bases:,} base prompts, offline, processor time"
    yield Figure("48,000 constraint prompts", took, 120, at_most=True, unit="s", note=note)
    met = sum(
        all(Checker(parse_constraints(row["instruction_id_list"], row["kwargs"])).strict(row["witness"])) for row in ds
    )
    yield Figure("prompts with a response that meets all constraints", met / len(ds), 1, unit="", note=f"{met:,}")
    use = Counter(kind for ids in ds["instruction_id_list"] for kind in ids)
    common = [use[kind] for kind in KINDS if kind not in LONERS]
    rare = ", ".join(f"{kind.partition(':')[2]} {use[kind]:,}" for kind in LONERS)
    yield Figure(
        "most used kind of constraint against the least used, of 21",
        max(common) / min(common),
        1.1,
        at_most=True,
        note=f"{min(common):,} to {max(common):,} uses; the two that fit hardly any other: {rare}",
    )


def search_figures() -> Iterator[Figure]:
    count, steps, chance = 200, 6, 0.4
    asked = rows(count, steps)
    with LLMServer(StepModel(steps, chance, fillers=20)) as server:
        found = tree_search(asked, "step", step="line", self_weight=0.0, base_url=server.url, progress=False)
        each = -(-found.usage.output_tokens // (count * steps * 5))  # lines of five words
        drawn = rejection_sampling(asked, "step", n=each, base_url=server.url, progress=False)
    runs = (found, drawn)
    full = [sum(max(row) == 1.0 for row in run.dataset["datamap_scores"]) / count for run in runs]
    expected = 1 - (1 - chance**steps) ** each
    note = f"{full[0]:.1%} of {count} prompts against {full[1]:.1%} (expected {expected:.1%}), n = {each}"
    yield Figure(
        "prompts with a full score, tree search against sampling, equal tokens", full[0] / full[1], 1, note=note
    )
    shares = []
    for run in runs:
        pairs = to_pairs(run.dataset, "low", labels="scores", per_prompt=20)
        shares.append(sum(ratio >= SHARED_PREFIX_RATIO for ratio in pairs["shared_prefix_ratio"]) / len(pairs))
    note = f"{shares[0]:.1%} against {shares[1]:.1%} of pairs that differ by one constraint, 20 drawn per prompt"
    yield Figure("pairs with a shared beginning, the same", shares[0] / shares[1], 1, note=note)


def sampling_figures() -> Iterator[Figure]:
    asked = rows(100, 4)
    with LLMServer(StepModel()) as server:
        took = []
        for _ in range(2):
            start = time.perf_counter()
            rejection_sampling(asked, "step", n=32, base_url=server.url, progress=False)
            took.append(time.perf_counter() - start)
    note = "3,200 samples, scored and mapped; the server runs on the same cores"
    yield Figure("rejection sampling, first run", 3200 / took[0], unit="samples/s", note=note)
    yield Figure("the same call again, from the store", took[0] / took[1], 1)


def rows(count: int, k: int) -> Dataset:
    ids, kwargs = constraints(k)
    prompt = [f"Request number {number}." for number in range(count)]
    given = {"instruction_id_list": [ids] * count, "kwargs": [json.dumps(kwargs)] * count}
    return Dataset.from_dict({"prompt": prompt, **given})


@contextlib.contextmanager
def patched(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})
