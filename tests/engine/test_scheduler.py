"""The engine: paid once, bounded, patient, without a barrier, and never harmed by one bad row."""

import random
import shutil
import threading
import time

import numpy as np
import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.data.example import Example
from hf_datamap.engine import config
from hf_datamap.engine.budget import Usage
from hf_datamap.engine.run import Run
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.store import Store
from hf_datamap.engine.task import Answer, Score
from tests.judging import annotate, judge_at
from tests.rows import graded, response_of, rows, scores
from tests.servers.llm import LLMServer, completion, error

# Paid once


def test_identical_rows_are_paid_once_also_at_the_same_time(server):
    server.latency = 0.1
    annotated, data_map = annotate(rows(3) * 40, judge_at(server))
    assert len(server.requests) == 6
    assert annotated["datamap_scores"][:] == scores(3) * 40
    assert data_map.provenance["usage"]["requests"] == 6


def test_identical_responses_in_one_row_are_paid_once(server):
    given = [{"prompt": "Which?", "responses": ["Same [4]", "Same [4]", "Other [9]", "Same [4]"]}]
    annotated, _ = annotate(given * 2, judge_at(server))
    assert annotated["datamap_scores"][0] == [4, 4, 9, 4]
    assert len(server.requests) == 2


def test_runs_at_the_same_time_pay_once(server):
    server.latency = 0.3
    found = {}

    def work(name):
        found[name] = annotate(rows(10), judge_at(server))[0]["datamap_scores"][:]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [scores(10)] * 3
    assert len(server.requests) == 20


def test_one_run_that_ends_early_harms_no_other(server):
    """Two runs wait for the same answer; the budget of the one that asked is no concern of the other."""
    server.latency = 0.05
    found = {}

    def work(name, budget):
        found[name] = annotate(rows(30), judge_at(server, max_in_flight=2), budget=budget)[0]["datamap_status"][:]

    threads = [
        threading.Thread(target=work, args=("poor", dm.Budget(requests=4))),
        threading.Thread(target=work, args=("rich", None)),
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert found["rich"] == ["ok"] * 30
    assert "skipped" in found["poor"]


def test_other_columns_orders_batches_and_processes_cost_nothing(server):
    judge = judge_at(server)
    ds = Dataset.from_list(rows(30))
    first, _ = annotate(ds, judge)
    sent = len(server.requests)
    kept = [name for name in first.column_names if name.startswith("datamap_") and name != "datamap_region"]
    wanted = first.select_columns(kept).data.table
    layout = dm.Layout(prompt="question", responses=("a", "b"))
    renamed = ds.rename_columns({"prompt": "question", "chosen": "a", "rejected": "b"})
    renamed = renamed.add_column("extra", list(range(30)))
    again, _ = annotate(renamed, judge, layout=layout)
    assert (
        again.select_columns(kept)
        .data.table.drop_columns(["datamap_agreement", "datamap_margin"])
        .equals(wanted.drop_columns(["datamap_agreement", "datamap_margin"]))
    )
    backwards, _ = annotate(ds.select(range(29, -1, -1)), judge)
    assert backwards["datamap_scores"][:] == scores(30)[::-1]
    for options in ({"batched": True, "batch_size": 7}, {"num_proc": 2}, {"writer_batch_size": 2}):
        assert ds.map(dm.score_fn(judge), **options)["datamap_scores"][:] == scores(30)
    # A new release: rows added, one removed, one corrected.
    release = rows(40)[1:]
    release[5]["chosen"] = "Corrected [9]"
    annotate(release, judge_at(server, api_key="sk-other-key", max_in_flight=3, timeout=9.0))
    assert len(server.requests) == sent + 2 * 10 + 1


def test_more_samples_pay_only_for_those_that_are_new(server):
    annotate(rows(4), judge_at(server, temperature=1.0))
    annotated, _ = annotate(rows(4), judge_at(server, temperature=1.0, samples=3))
    assert len(server.requests) == 8 * 3
    assert sorted(request.get("seed", 0) for request in server.requests) == [0] * 8 + [1] * 8 + [2] * 8
    assert annotated["datamap_noise"][:] == [0.0] * 4


# Failures are not kept


def test_failures_are_asked_again_and_answers_are_not(server):
    server.script = lambda request, n: (
        completion(request, "I would rather not say.") if "Bad" in response_of(request) else graded(request)
    )
    annotated, _ = annotate(rows(5), judge_at(server))
    assert annotated["datamap_status"][:] == ["partial"] * 5
    assert annotated["datamap_scores"][:] == [[pair[0], None] for pair in scores(5)]
    assert annotated["datamap_region"][:] == ["unmapped"] * 5
    server.forget()
    server.script = graded
    annotated, _ = annotate(rows(5), judge_at(server))
    assert len(server.requests) == 5
    assert all("Bad" in response_of(request) for request in server.requests)
    assert annotated["datamap_scores"][:] == scores(5)


def test_a_store_deleted_between_two_runs(server):
    annotate(rows(3), judge_at(server))
    shutil.rmtree(config.cache_dir())
    annotate(rows(3), judge_at(server))
    assert len(server.requests) == 12
    assert len(Store()) == 6


# Bounds


def test_in_flight_is_bounded_and_the_bound_is_reached(server):
    server.latency = 0.05
    annotate(rows(60), judge_at(server, max_in_flight=7))
    assert server.greatest == 7
    server.forget()
    Dataset.from_list(rows(60, 500)).map(dm.score_fn(judge_at(server, max_in_flight=5)))
    assert server.greatest == 5
    server.forget()
    Dataset.from_list(rows(60, 900)).map(dm.score_fn(judge_at(server, max_in_flight=6)), batched=True, batch_size=10)
    assert server.greatest == 6


def test_a_straggler_holds_nothing_up(server):
    """The slow one is answered when all the others have been: a client that waits for it would wait for ever."""

    def script(request, n):
        reply = graded(request)
        if "Good answer 0 " in response_of(request):
            reply.until = lambda: sum(server.answered.values()) == 299
        return reply

    server.script = script
    annotated, _ = annotate(rows(150), judge_at(server, max_in_flight=8))
    assert annotated["datamap_scores"][:] == scores(150)


# Budgets


def test_a_budget_in_requests_is_exact_and_the_rerun_sends_the_rest(server):
    server.latency = 0.01
    first, data_map = annotate(rows(50), judge_at(server), budget=dm.Budget(requests=31))
    assert len(server.requests) == 31
    assert data_map.provenance["usage"]["stopped"] == "budget of 31 requests reached"
    statuses = first["datamap_status"][:]
    assert set(statuses) <= {"ok", "partial", "skipped"}
    assert sum(len([s for s in row if s is not None]) for row in first["datamap_scores"]) == 31
    skipped = statuses.index("skipped")
    assert first["datamap_scores"][skipped] == [None, None]
    assert "budget of 31 requests reached" in first["datamap_error"][skipped]
    assert first["datamap_region"][skipped] == "unmapped"
    second, _ = annotate(rows(50), judge_at(server), budget=dm.Budget(requests=80))
    assert len(server.requests) == 100
    assert max(server.answered.values()) == 1
    assert second["datamap_scores"][:] == scores(50)


def test_retries_count_against_the_budget(server):
    server.script = lambda request, n: error(500, "no")
    annotate(rows(20), judge_at(server, max_retries=5), budget=dm.Budget(requests=10))
    assert len(server.requests) == 10


@pytest.mark.parametrize(
    "budget",
    [dm.Budget(tokens=2100), dm.Budget(cost=0.21, prices=dm.Prices(100, 100))],
    ids=["tokens", "dollars"],
)
def test_budgets_in_tokens_and_money(server, budget):
    """Each answer takes 105 tokens (100 in, 5 out): the limit is reached at about twenty."""
    server.latency = 0.01
    judge = judge_at(server, max_in_flight=4)
    first, data_map = annotate(rows(50), judge, budget=budget)
    usage = data_map.provenance["usage"]
    assert 15 <= usage["requests"] <= 20
    assert usage["requests"] == len(server.requests)
    assert usage["stopped"].startswith("budget of")
    assert "skipped" in first["datamap_status"][:]
    second, _ = annotate(rows(50), judge)
    assert len(server.requests) == 100
    assert second["datamap_scores"][:] == scores(50)


def test_a_budget_in_tokens_holds_before_the_first_answer(server):
    """Nothing is known of the price of an answer yet, and 64 could be in flight."""
    server.latency = 0.2
    _, data_map = annotate(rows(60), judge_at(server), budget=dm.Budget(tokens=2000))
    usage = data_map.provenance["usage"]
    assert usage["input_tokens"] + usage["output_tokens"] <= 2000
    assert usage["requests"] > 0


def test_no_budget_no_request(server):
    annotated, data_map = annotate(rows(5), judge_at(server), budget=dm.Budget(requests=0))
    assert not server.requests
    assert annotated["datamap_status"][:] == ["skipped"] * 5
    assert data_map.counts["unmapped"] == 5


def test_a_stream_with_a_budget_is_refused(server):
    stream = Dataset.from_list(rows(5)).to_iterable_dataset()
    with pytest.raises(dm.DataMapError, match="budget"):
        dm.annotate(stream, judge_at(server), budget=dm.Budget(requests=3))
    assert not server.requests


# Scorers of other people


class Words:
    """Longer is better: the ten lines that anyone can write."""

    identity = {"kind": "words", "version": 1}

    def score(self, example: Example):
        return [float(len((response or "").split())) for response in example.responses]


class AsyncWords(Words):
    identity = {"kind": "words", "version": 2}
    calls = 0

    async def score(self, example: Example):
        AsyncWords.calls += 1
        return Words.score(self, example)


class Given:
    """Answers with what it is told, by row."""

    def __init__(self, answers):
        self.answers = answers
        self.identity = {"kind": "given", "digest": repr(answers)}
        self.calls = 0

    def score(self, example: Example):
        self.calls += 1
        answer = self.answers[int(example.prompt[0]["content"].split()[1].rstrip("?"))]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("scorer", [Words(), AsyncWords()], ids=["sync", "async"])
def test_anyones_scorer_in_every_mode(scorer):
    ds = Dataset.from_list(rows(30))
    wanted = [[4.0, 4.0]] * 30
    annotated, _ = annotate(ds, scorer)
    assert annotated["datamap_scores"][:] == wanted
    for options in ({}, {"batched": True}, {"num_proc": 2}):
        assert ds.map(dm.score_fn(scorer), **options)["datamap_scores"][:] == wanted
    assert [row["datamap_scores"] for row in ds.to_iterable_dataset().map(dm.score_fn(scorer))] == wanted


def test_anyones_answers_are_kept():
    AsyncWords.calls = 0
    for _ in range(2):
        annotate(rows(10, 700), AsyncWords())
    assert AsyncWords.calls == 10


def test_what_a_scorer_can_get_wrong_stays_in_its_row():
    answers = [
        [1.0, 2.0],
        ValueError("broke \ud800"),
        [1.0],
        [np.float32(1.5), np.int64(3)],
        [float("nan"), 2.0],
        [Score(np.float32(2.5), noise=np.float32(0.5)), Score(None, "no idea")],
        None,
        ["abc", 1.0],
        [1e300, 2.0],
        [Score(1.0, noise=float("nan")), Score(2.0)],
        [1.0, 2.0, 3.0],
        TimeoutError("late"),
        [4.0, 5.0],
    ]
    scorer = Given(answers)
    annotated, _ = annotate(rows(len(answers)), scorer)
    found = annotated["datamap_scores"][:]
    statuses = annotated["datamap_status"][:]
    errors = annotated["datamap_error"][:]
    assert found[0] == [1, 2]
    assert found[3] == [1.5, 3]
    assert found[-1] == [4, 5]
    assert [statuses[place] for place in (0, 3, 12)] == ["ok"] * 3
    for place, words in {1: "ValueError: broke", 2: "1 scores? for 2", 6: "", 10: "3 scores for 2", 11: "late"}.items():
        assert statuses[place] == "failed", place
        assert found[place] == [None, None]
        assert words.replace("?", "") in errors[place] or words.replace("s?", "") in errors[place], errors[place]
    assert found[4] == [None, 2.0]
    assert statuses[4] == "partial"
    assert "not a finite score: nan" in errors[4]
    assert found[5] == [2.5, None]
    assert errors[5] == "response 2: no idea"
    assert annotated["datamap_noise"][5] == 0.5
    assert found[7] == [None, 1.0]
    assert found[8] == [None, 2.0]
    assert annotated["datamap_noise"][9] is None
    # What failed is asked again, what was answered is not.
    again = Given(answers)
    annotate(rows(len(answers)), again)
    assert again.calls == sum(status != "ok" for status in statuses)


def test_a_scorer_without_identity():
    class Nameless:
        def score(self, example):
            return [1.0, 2.0]

    class Odd(Words):
        identity = {"kind": object()}

    class Wordy(Words):
        identity = "words"

    for scorer, match in (
        (Nameless(), "identity"),
        (Odd(), "JSON"),
        (Wordy(), "identity"),
        (Words, "instance"),
    ):
        with pytest.raises(dm.DataMapError, match=match):
            annotate(rows(2), scorer)
        with pytest.raises(dm.DataMapError, match=match):
            dm.score_fn(scorer)


def test_a_task_scorer_that_breaks_ends_the_run_with_its_own_error():
    """Also when the error is one that waiting loops like to swallow."""

    class Broken:
        identity = {"kind": "broken"}
        max_in_flight = 2

        def __init__(self, failure, place):
            self.failure, self.place = failure, place

        def tasks(self, example):
            if self.place == "tasks":
                raise self.failure
            from hf_datamap.engine.task import Task

            return [Task([response], response) for response in example.responses]

        async def answer(self, task):
            if self.place == "answer":
                raise self.failure
            return Answer(1.0)

        def combine(self, example, answers):
            if self.place == "combine":
                raise self.failure
            return [Score(1.0)] * (1 if self.place == "count" else len(answers))

    for failure in (TimeoutError("mine"), KeyError("mine")):
        for place in ("tasks", "answer", "combine"):
            with pytest.raises(type(failure), match="mine"):
                annotate(rows(200), Broken(failure, place))
    with pytest.raises(dm.DataMapError, match="gave 1 scores for 2 responses"):
        annotate(rows(200), Broken(None, "count"))


def test_examples_that_break_on_the_way_end_the_run():
    def examples():
        for row in rows(500):
            if row["prompt"] == "Question 300?":
                raise RuntimeError("the disk is gone")
            yield Example(({"role": "user", "content": row["prompt"]},), [row["chosen"], row["rejected"]])

    with LLMServer(graded) as server:
        run = Run(judge_at(server, max_in_flight=4), examples(), lambda index, found: None, usage=Usage())
        with pytest.raises(RuntimeError, match="the disk is gone"):
            engine().run(run)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["tokens", "dollars"])
def test_requests_of_all_sizes_overshoot_a_budget_by_one_at_most(server, seed, kind):
    """Sixty-four are in flight at once, and each takes between half and several times what was expected."""
    prices, sizes, chance = dm.Prices(2.5, 10), [], random.Random(seed)

    def script(request, n):
        reply = graded(request)
        sent = int(sum(len(message["content"]) for message in request["messages"]) / chance.uniform(1.5, 7))
        received = chance.choice([4, 6, 8, 10, 60])
        sizes.append((sent, received))
        reply.json["usage"] = {"prompt_tokens": sent, "completion_tokens": received}
        reply.delay = chance.random() * 0.02
        return reply

    server.script = script
    data = [{**row, "prompt": row["prompt"] + " more" * chance.randrange(400)} for row in rows(150, 1000 * (seed + 1))]
    budget = dm.Budget(tokens=60_000) if kind == "tokens" else dm.Budget(cost=0.15, prices=prices)
    _, data_map = annotate(data, judge_at(server), budget=budget)
    usage = data_map.provenance["usage"]
    assert usage["stopped"]
    if kind == "tokens":
        spent, limit, largest = usage["input_tokens"] + usage["output_tokens"], 60_000, max(map(sum, sizes))
    else:
        spent, limit, largest = usage["cost"], 0.15, max(prices.cost(*size) for size in sizes)
    assert spent <= limit + largest
    assert spent >= limit - 2 * largest  # and it is used
