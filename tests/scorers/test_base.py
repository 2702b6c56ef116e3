"""The one `Scorer`: what a subclass gets for nothing, and what an object of another class is adapted to."""

from __future__ import annotations

import pickle
from typing import ClassVar

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.engine.task import Answer, Task
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Way

ROWS = [{"prompt": f"Question {i}", "responses": ["a" * (i + 1), "bb", "ccc"]} for i in range(6)]


class Length(dm.Scorer):
    identity: ClassVar = {"kind": "length"}

    def score(self, example):
        return [len(text) for text in example.responses]


class AsyncLength(Length):
    async def score(self, example):
        return [len(text) for text in example.responses]


class InlineLength(Length):
    stored = False


class DuckLength:
    """Nothing but what is needed."""

    identity: ClassVar = {"kind": "length"}

    def score(self, example):
        return [len(text) for text in example.responses]


class DuckTasks:
    """A scorer of another party that cuts its own tasks, with hooks of its own."""

    identity: ClassVar = {"kind": "length", "by": "tasks"}
    max_in_flight = 3
    max_retries = 2
    rationales = True

    def __init__(self):
        self.released = 0

    def tasks(self, example):
        return [Task([text], text) for text in example.responses]

    async def answer(self, task):
        return Answer(len(task.payload))

    def combine(self, example, answers):
        return [dm.Score(answer.value, rationale="counted") for answer in answers]

    def estimate(self, task):
        return len(task.payload), 1

    def release(self):
        self.released += 1


def annotated(scorer):
    return dm.annotate(Dataset.from_list(ROWS), scorer, progress=False)


@pytest.mark.parametrize("make", [Length, AsyncLength, InlineLength, DuckLength, DuckTasks])
def test_every_way_of_writing_a_scorer_gives_the_same_columns(make):
    scored, data_map = annotated(make())
    assert scored["datamap_scores"][:] == [[float(len(text)) for text in row["responses"]] for row in ROWS]
    assert data_map.provenance["scorer"] == dict(make.identity)
    mapped = Dataset.from_list(ROWS).map(dm.score_fn(make()), batched=True)
    assert mapped["datamap_scores"][:] == scored["datamap_scores"][:]


@pytest.mark.parametrize(
    ("scorer", "way"),
    [
        (Length(), Way.ENGINE),
        (InlineLength(), Way.INLINE),
        (DuckLength(), Way.ENGINE),
        (dm.ConstraintScorer(), Way.INLINE),
        (dm.ColumnScorer("a"), Way.COLUMNS),
        (dm.Panel([Length(), dm.ColumnScorer("a")]), Way.ENGINE),
        (dm.LLMJudge("m", base_url="http://h/v1"), Way.ENGINE),
    ],
)
def test_one_attribute_says_where_scores_come_from(scorer, way):
    assert as_scorer(scorer).way is way


def test_an_async_score_waits_for_many_at_a_time():
    assert (as_scorer(Length()).max_in_flight, as_scorer(AsyncLength()).max_in_flight) == (1, 64)
    assert as_scorer(DuckLength()).max_in_flight == 1


def test_hooks_of_another_partys_scorer_are_used():
    duck = DuckTasks()
    scorer = as_scorer(duck)
    assert (scorer.max_in_flight, scorer.max_retries, scorer.may_lose) == (3, 2, 0)
    assert scorer.estimate(Task(["abc"], "abc")) == (3, 1)
    scored, _ = annotated(duck)
    assert scored["datamap_rationales"][0] == ["counted"] * 3
    assert duck.released == 1
    assert dm.estimate(Dataset.from_list(ROWS), DuckTasks()).requests == 0  # all are in the store


def test_an_adapted_scorer_is_adapted_once_and_travels():
    scorer = as_scorer(DuckLength())
    assert as_scorer(scorer) is scorer
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.identity == scorer.identity
    assert repr(copy) == repr(scorer) == "DuckLength()"


class NoIdentity:
    def score(self, example):
        return []


class NotJSON(DuckLength):
    identity: ClassVar = {"kind": {1, 2}}


@pytest.mark.parametrize("scorer", [NoIdentity(), object(), DuckLength, "judge:m", None, NotJSON()])
def test_what_is_no_scorer_is_named(scorer):
    with pytest.raises(dm.ScorerError, match=r"is no scorer|must be a dict of JSON"):
        annotated(scorer)


def test_a_subclass_without_identity_cannot_be_made():
    with pytest.raises(TypeError, match="identity"):
        type("Nameless", (dm.Scorer,), {})()


@pytest.mark.parametrize(
    "scorer",
    [
        Length(),
        dm.LLMJudge("org/model", base_url="http://h/v1", api_key="sk-verysecretkey", rubric="word " * 4000),
        dm.ColumnScorer("completions[].score"),
        dm.ConstraintScorer(),
        dm.Panel([Length(), dm.ColumnScorer("a")]),
        dm.RewardModel("org/reward"),
        dm.ReferenceScorer(similarity="rouge-l", writer=dm.ReferenceWriter("w", base_url="http://h/v1")),
        dm.RougeL(),
        dm.SentenceEmbedder(),
        dm.ServedEmbedder("e", base_url="http://h/v1", api_key="sk-verysecretkey"),
        dm.ReferenceWriter("w", base_url="http://h/v1", api_key="sk-verysecretkey"),
    ],
)
def test_repr_is_one_short_line(scorer):
    line = repr(scorer)
    assert line.startswith(type(scorer).__name__)
    assert len(line) < 200
    assert "\n" not in line
    assert "0x" not in line
    assert "verysecret" not in line
