"""Rows that a seed gives do not change from one release to the next without anybody saying so.

The hashes were taken from release 0.1.0. If one changes, the CHANGELOG says why; the prompts of a published dataset
must stay reproducible from its seed. Changed since: the pairs of a study (a prompt with one constraint has no low
contrast, and mixed arms are half and half). Prompts are more balanced by default; ``loner_share=0.25`` gives the old.
"""

import hashlib
import json

import pytest

from hf_datamap.generate import Sampler, Writer, prompts, rejection_sampling, study, tree_search
from tests.generate.test_prompts import writing_model
from tests.generate.test_study import rows
from tests.servers.llm import LLMServer
from tests.servers.sampling import StepModel


def digest(*datasets):
    """A hash of all cells, of floats rounded to what float32 holds."""
    text = json.dumps([dataset.to_list() for dataset in datasets], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_prompts():
    assert digest(prompts(120, seed=1, witness=True, loner_share=0.25)) == "edc6c1867eb69529"
    assert digest(prompts(30, k=(2, 3), seed=7, bases=20, loner_share=0.25)) == "6fc339c772d1edef"


def test_prompts_that_a_model_writes():
    with LLMServer(writing_model) as server:
        writer = Writer(Sampler("writer", base_url=server.url), progress=False)
        assert digest(prompts(30, seed=1, bases=8, writer=writer, loner_share=0.25)) == "e0b3c170f588641c"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, LLMServer(StepModel(steps=5, chance=0.6)) as server:
        patch.setenv("HF_DATAMAP_CACHE", str(tmp_path_factory.mktemp("store")))
        options = {"base_url": server.url, "progress": False}
        drawn = rejection_sampling(rows(8), "step", n=12, **options)
        searched = tree_search(rows(8), "step", iterations=5, step="line", self_weight=0.25, **options)
    return {"rs": drawn, "mcts": searched}


def test_rejection_sampling(samples):
    assert digest(samples["rs"].dataset.select_columns(["responses", "response_errors"])) == "6246c8a8c3f9c2c6"


def test_tree_search(samples):
    done = samples["mcts"]
    columns = [name for name in done.dataset.column_names if name.startswith("response")]
    assert digest(done.dataset.select_columns(columns), done.nodes) == "2f78052a228dc84f"


def test_study(samples):
    pairs = study(samples).pairs
    assert digest(*(pairs[name] for name in sorted(pairs))) == "73ffc96b47afa95d"
