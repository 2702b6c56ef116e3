"""The study: arms that differ in one thing and are equal in number, and what they tell of themselves."""

import json
from collections import Counter

import pytest
from datasets import Dataset

from hf_datamap.errors import GenerateError
from hf_datamap.generate import Sampler, Writer, rejection_sampling, study, tree_search
from tests.servers.llm import LLMServer
from tests.servers.sampling import StepModel, constraints


def rows(count, sizes=(4, 5)):
    told = [(k, *constraints(k)) for k in sizes for _ in range(count)]
    return Dataset.from_dict(
        {
            "prompt": [f"Request {number} for {k}." for number, (k, _, _) in enumerate(told)],
            "instruction_id_list": [ids for _, ids, _ in told],
            "kwargs": [json.dumps(kwargs) for _, _, kwargs in told],
        }
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, LLMServer(StepModel(steps=5, chance=0.6)) as server:
        patch.setenv("HF_DATAMAP_CACHE", str(tmp_path_factory.mktemp("store")))
        asked, options = rows(12), {"base_url": server.url, "progress": False}
        drawn = rejection_sampling(asked, "step", n=16, **options)
        searched = tree_search(asked, "step", iterations=5, step="line", self_weight=0.0, **options)
    return {"rs": drawn, "mcts": searched}


@pytest.fixture(scope="module")
def done(samples):
    return study(samples)


def test_results_show_themselves_in_one_line(done, samples):
    writer = Writer(Sampler("m", base_url="http://h/v1", api_key="secret-key"))
    for result in (*samples.values(), done, writer, writer.sampler):
        assert len(repr(result)) < 120
        assert "\n" not in repr(result)
        assert "secret" not in repr(result)
        assert " at 0x" not in repr(result)


def test_arms_have_equally_many_pairs_and_prompts(done):
    assert {(arm.method, arm.contrast, arm.k) for arm in done.arms} == {
        (method, contrast, k) for method in ("rs", "mcts") for contrast in ("high", "low", "mixed") for k in (4, 5)
    }
    filled = [arm for arm in done.arms if arm.pairs]
    assert len(filled) >= 8
    assert len({(arm.pairs, arm.prompts) for arm in filled}) == 1
    assert all(arm.pairs == arm.prompts <= arm.eligible <= arm.of == 12 for arm in filled)
    assert set(done.pairs) == {arm.name for arm in filled}


def test_each_arm_has_the_contrast_and_the_number_of_constraints_of_its_name(done):
    for arm in done.arms:
        if arm.name not in done.pairs:
            continue
        for pair in done.pairs[arm.name]:
            c, r = round(pair["chosen_score"] * arm.k), round(pair["rejected_score"] * arm.k)
            high, low = c == arm.k and r <= arm.k - 2, c - r == 1
            assert {"high": high, "low": low, "mixed": high or low}[arm.contrast]
            assert pair["constraints"] == arm.k
            assert pair["prompt"].endswith(f"for {arm.k}.")


def test_pairs_of_a_search_share_a_beginning_and_those_of_sampling_seldom(done):
    shared = {
        method: [arm.shared for arm in done.arms if arm.method == method and arm.pairs] for method in ("rs", "mcts")
    }
    assert set(shared["mcts"]) == {1.0}
    assert max(shared["rs"]) < 1.0


def test_source_rows_are_those_of_all_prompts(done, samples):
    prompts = samples["rs"].dataset["prompt"]
    for pairs in done.pairs.values():
        assert [prompts[row] for row in pairs["source_row"]] == list(pairs["prompt"])


def test_the_same_prompts_on_demand(samples):
    done = study(samples, contrasts=("low", (3, 2)), same_prompts=True)
    for k in (4, 5):
        arms = [set(pairs["source_row"]) for name, pairs in done.pairs.items() if name.endswith(f"k{k}")]
        assert len(arms) == 4
        assert all(rows == arms[0] for rows in arms)


def test_several_pairs_of_a_prompt(samples):
    done = study(samples, contrasts=("low",), per_prompt=2, size=3)
    for pairs in done.pairs.values():
        assert Counter(Counter(pairs["source_row"]).values()) == {2: 3}


def test_what_is_saved_can_be_trained_on(done, tmp_path):
    done.save(tmp_path)
    for name in done.pairs:
        arm = Dataset.from_parquet(str(tmp_path / "arms" / f"{name}.parquet"))
        assert arm.column_names[:3] == ["prompt", "chosen", "rejected"]
    told = json.loads((tmp_path / "study.json").read_text())
    assert len(told["arms"]) == 12
    assert told["tokens"]["rs"] == 24 * 16 * 25
    assert told["scores"]["rs"]["4"]["responses"] == 12 * 16
    assert "| rs-high-k4 |" in (tmp_path / "study.md").read_text()


def test_same_seed_same_arms(samples, done):
    again = study(samples)
    assert again.arms == done.arms
    assert all(again.pairs[name].to_list() == pairs.to_list() for name, pairs in done.pairs.items())


def test_bad_input(samples):
    with pytest.raises(GenerateError, match="at least one method"):
        study({})
    with pytest.raises(GenerateError, match="size is 99"):
        study(samples, contrasts=("low",), size=99)
    with pytest.raises(GenerateError, match="no arm has a pair"):
        study(samples, contrasts=((0, 0),))
    with LLMServer(StepModel()) as server:
        other = rejection_sampling(rows(1), "step", n=2, base_url=server.url, progress=False)
    with pytest.raises(GenerateError, match="different prompts"):
        study({"rs": samples["rs"], "other": other})
