"""Rejection sampling against scripted models whose pairs and yields are worked out by hand, and a real small one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset

import hf_datamap as dm
from hf_datamap.cli import main
from hf_datamap.errors import EndpointError, GenerateError
from hf_datamap.generate import rejection_sampling
from hf_datamap.generate.pair_counts import Yield
from tests.servers.llm import LLMServer, completion, error
from tests.servers.sampling import PLAIN, StepModel, constraints, good, missing_model, scripted, small_model

ROOT = Path(__file__).parents[2]
FULL = "\n".join(good(step) for step in range(4))
THREE = "\n".join(good(step) for step in range(3))
TWO = "\n".join(good(step) for step in range(2))
NONE = PLAIN


def rows(count=2, k=4):
    ids, kwargs = constraints(k)
    prompt = [f"Request number {number}." for number in range(count)]
    return Dataset.from_dict(
        {"prompt": prompt, "instruction_id_list": [ids] * count, "kwargs": [json.dumps(kwargs)] * count}
    )


def sample(server, ds=None, **options):
    options = {"n": 4, "base_url": server.url, "progress": False} | options
    return rejection_sampling(rows() if ds is None else ds, "step", **options)


def test_scores_yields_and_pairs_are_those_worked_out_by_hand():
    with LLMServer(scripted([FULL, TWO, THREE, NONE])) as server:
        done = sample(server)
    assert done.dataset["datamap_scores"] == [[1.0, 0.5, 0.75, 0.0]] * 2
    # Each prompt has one answer at each of 4, 3, 2 and 0: every ordered pair of levels once.
    wanted = [(2, 0), (3, 0), (3, 2), (4, 0), (4, 2), (4, 3)]
    assert done.yields == [Yield(4, c, r, 2, 2, 2) for c, r in wanted]
    high, low, exact = done.pairs("high", per_prompt=9), done.pairs("low", per_prompt=9), done.pairs((4, 2))
    assert sorted(zip(high["chosen"], high["rejected"], strict=True)) == sorted([(FULL, TWO), (FULL, NONE)] * 2)
    assert sorted(zip(low["chosen"], low["rejected"], strict=True)) == sorted([(FULL, THREE), (THREE, TWO)] * 2)
    assert [(row["chosen"], row["rejected"], row["margin"]) for row in exact] == [(FULL, TWO, 0.5)] * 2


def test_mean_and_variance_go_into_the_map():
    with LLMServer(scripted([FULL, NONE])) as server:
        done = sample(server, rows(6), n=2)
    assert done.dataset["datamap_mean"] == [0.5] * 6
    assert done.dataset["datamap_variance"] == [0.25] * 6
    assert done.data_map.mapped == 6
    assert done.data_map.provenance["source"]["generated"]["n"] == 2


def test_truncated_refused_and_empty_samples_are_no_responses_and_say_why():
    cut = completion({"messages": []}, FULL, finish_reason="length")
    refused = completion({"messages": []}, "", message={"role": "assistant", "content": None, "refusal": "I cannot."})
    with LLMServer(scripted([FULL, cut, refused, "  "])) as server:
        done = sample(server)
        again = sample(server)
    for run in (done, again):
        assert run.dataset["responses"] == [[FULL, None, None, None]] * 2
        reasons = [[error.partition(":")[0] for error in row] for row in run.dataset["response_errors"]]
        assert reasons == [["", "truncated", "refused", "empty"]] * 2
        assert run.usage.failed == {"truncated": 2, "refused": 2, "empty": 2}
    assert again.usage.requests == 0


def test_what_was_sampled_is_never_asked_for_again():
    with LLMServer(StepModel()) as server:
        first = sample(server, n=3)
        more = sample(server, n=5)
        other = sample(server, n=3, seed=100)
    assert (first.usage.requests, more.usage.requests, more.usage.from_store) == (6, 4, 6)
    assert [row[:3] for row in more.dataset["responses"]] == first.dataset["responses"]
    assert other.usage.requests == 6


def test_a_budget_leaves_samples_out_and_says_so():
    with LLMServer(StepModel()) as server:
        part = sample(server, rows(4), budget=dm.Budget(requests=6), max_in_flight=1)
        whole = sample(server, rows(4))
    assert part.usage.requests == 6
    assert part.usage.stopped == "budget of 6 requests reached"
    errors = Counter(error for row in part.dataset["response_errors"] for error in row)
    assert errors["skipped: budget of 6 requests reached"] == 10
    assert whole.usage.requests == 10


def test_a_nervous_endpoint_loses_nothing():
    def script(request, count):
        return error(429, "slow down", retry_after="0.01") if count % 3 == 0 else StepModel()(request, count)

    with LLMServer(script) as server:
        done = sample(server)
    assert all(text for row in done.dataset["responses"] for text in row)
    assert done.usage.retried


def test_any_scorer_will_do():
    class Length:
        identity = {"kind": "length"}

        def score(self, example):
            return [len(text) if text else None for text in example.responses]

    with LLMServer(scripted([FULL, NONE])) as server:
        done = sample(server, scorer=Length(), n=2)
    assert done.dataset["datamap_scores"] == [[len(FULL), len(NONE)]] * 2
    assert done.yields == []


@pytest.mark.parametrize(
    ("options", "words"),
    [({"n": 0}, "at least 1"), ({"temperature": -1}, "temperature"), ({"top_p": 0.0}, "top_p")],
)
def test_bad_options_name_the_value(options, words):
    with LLMServer(StepModel()) as server, pytest.raises(GenerateError, match=words):
        sample(server, **options)


def test_bad_prompts_name_the_row():
    with LLMServer(StepModel()) as server:
        with pytest.raises(GenerateError, match="no column 'prompt'"):
            sample(server, Dataset.from_dict({"text": ["a"]}))
        with pytest.raises(GenerateError, match="row 1"):
            sample(server, Dataset.from_dict({"prompt": ["a", " "]}))


def test_a_wrong_key_stops_at_once():
    with LLMServer(StepModel(), key="right") as server, pytest.raises(EndpointError, match="401"):
        sample(server, api_key="wrong")


def test_nothing_but_failures_is_an_error():
    with LLMServer(scripted(["", " "])) as server, pytest.raises(GenerateError, match="no response"):
        sample(server)
    with (
        LLMServer(lambda *_: error(400, "no such thing")) as server,
        pytest.raises(EndpointError, match="no such thing"),
    ):
        sample(server)


@pytest.mark.parametrize(
    "content",
    [
        f"<think>\nA first thought, with a comma.\n</think>\n\n{FULL}",
        f"A thought whose beginning stands in the prompt.</think>{FULL}",
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": FULL}],
        [{"type": "text", "text": FULL}],
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{FULL}<|return|>",
    ],
)
def test_thoughts_are_no_part_of_a_response(content):
    message = {"role": "assistant", "content": content}
    with LLMServer(lambda request, _: completion(request, "", message=message)) as server:
        done = sample(server, n=1)
    assert done.dataset["responses"] == [[FULL]] * 2
    assert done.dataset["datamap_scores"] == [[1.0]] * 2


def test_a_thought_that_does_not_end_is_no_response():
    texts = scripted([FULL, completion({"messages": []}, f"<think>{FULL}", finish_reason="length")])
    with LLMServer(texts) as server:
        done = sample(server, n=2)
    assert done.dataset["responses"] == [[FULL, None]] * 2
    assert all("thinking" in errors[1] for errors in done.dataset["response_errors"])


def test_settings_say_what_was_sent_and_a_run_from_the_store_says_the_same():
    def picky(request, _):
        if "temperature" in request:
            return error(400, "Unsupported parameter: 'temperature' is not supported with this model.")
        assert "top_p" not in request, "a neutral value is not sent"
        return completion(request, FULL)

    with LLMServer(picky) as server:
        done = sample(server, n=1, temperature=0.7)
        asked = len(server.requests)
        again = sample(server, n=1, temperature=0.7)
        assert len(server.requests) == asked
    for run in (done, again):
        assert run.settings["temperature"] is None
        assert run.settings["sent_otherwise"] == {"temperature": None}


def test_kill_and_go_on(tmp_path):
    """After kill -9 the same call asks only for what is missing."""
    code = textwrap.dedent("""
        import sys
        from tests.generate.test_sampling import rows
        from hf_datamap.generate import rejection_sampling
        rejection_sampling(rows(8), "step", n=8, base_url=sys.argv[1], max_in_flight=2, progress=False)
    """)
    with LLMServer(StepModel(), latency=0.05) as server:
        child = subprocess.Popen([sys.executable, "-c", code, server.url], env=dict(os.environ), cwd=ROOT)
        while len(server.requests) < 12 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kept = sum(server.answered.values())
        server.latency = 0.0
        done = sample(server, rows(8), n=8)
    # Those under way when it died are asked for again: at most max_in_flight, and one whose answer was just arriving.
    assert 64 - kept <= done.usage.requests <= 64 - kept + 3
    assert all(text for row in done.dataset["responses"] for text in row)


def test_command_writes_map_pairs_and_yields(tmp_path, capsys):
    rows(3).to_parquet(tmp_path / "prompts.parquet")
    out = tmp_path / "out"
    with LLMServer(scripted([FULL, TWO, NONE])) as server:
        arguments = ["sample", str(tmp_path / "prompts.parquet"), "--method", "rs", "--model", "step", "-n", "3"]
        arguments += ["--base-url", server.url, "--out", str(out), "--contrast", "high", "--contrast", "4,3", "--json"]
        main(arguments)
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["pairs"] == {"high": 3, "4-3": 0}
    assert told["scores"]["4"] == {"hard": pytest.approx(1 / 3), "soft": pytest.approx(0.5), "responses": 9}
    assert "no pairs of contrast 4-3" in said.err
    pairs = Dataset.from_parquet(str(out / "pairs-high.parquet"))
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
    assert len(load_dataset(str(out / "data"), split="train")) == 3
    assert {path.name for path in out.iterdir()} >= {"README.md", "datamap.json", "map.png", "yields.json"}
    arguments[arguments.index("step")] = "another"
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "its model is step, not another" in capsys.readouterr().err


@pytest.mark.skipif(bool(missing_model()), reason=missing_model() or "present")
def test_a_real_small_model():
    ids = ["punctuation:no_comma", "change_case:english_lowercase"]
    asked = Dataset.from_dict(
        {
            "prompt": ["Say hello.", "What is two plus two?"],
            "instruction_id_list": [ids] * 2,
            "kwargs": ["[{}, {}]"] * 2,
        }
    )
    options = {"n": 2, "max_tokens": 150, "max_in_flight": 2, "progress": False}
    with small_model() as url:
        done = rejection_sampling(asked, "smol", base_url=url, **options)
        again = rejection_sampling(asked, "smol", base_url=url, **options)
    assert done.usage.requests == 4
    assert 4 <= done.usage.output_tokens <= 600
    assert {score for row in done.dataset["datamap_scores"] for score in row} <= {0.0, 0.5, 1.0, None}
    assert again.usage.requests == 0
    assert again.dataset["responses"] == done.dataset["responses"]
