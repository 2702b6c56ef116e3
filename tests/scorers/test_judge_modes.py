"""LLMJudge beyond one number at a time: rubrics, criteria, listwise, repeats, reasons, reasoning models."""

import hashlib
import json
import pickle
import statistics

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.data import Example
from hf_datamap.engine.reply import ChatReply
from hf_datamap.errors import Unanswered
from hf_datamap.scorers.judge_prompt import JudgeForm, ask
from hf_datamap.scorers.judge_reply import read_verdicts
from hf_datamap.scorers.rubrics import RUBRICS, Rubric, rubric_of
from tests.rows import responses_of
from tests.servers.llm import LLMServer, completion, error

ROWS = [
    {"prompt": f"Question {i}", "responses": [f"short {i}", f"a longer answer {i}", f"the longest answer of all {i}"]}
    for i in range(5)
]


def annotated(judge, rows=ROWS, **options):
    return dm.annotate(Dataset.from_list(rows), judge, progress=False, **options)


def by_length(request, _=0):
    """A judge that likes length, listwise."""
    return completion(request, json.dumps({k: min(10, 1 + len(v) // 4) for k, v in responses_of(request).items()}))


def test_the_plain_judge_asks_what_it_always_asked():
    prompt = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2+2?"})
    messages = ask(JudgeForm(RUBRICS["helpfulness"]), prompt, ["4, of course"], secret=b"of a store")
    assert hashlib.sha256(json.dumps(messages).encode()).hexdigest().startswith("c0db4bc9aa093e98fb1e659865ec9061")
    assert dm.LLMJudge("m", base_url="http://h/v1").identity == {
        "kind": "judge",
        "model": "m",
        "base_url": "http://h/v1",
        "prompt": "pointwise-3",
        "rubric": "helpfulness",
        "rubric_digest": "c189e01f289085c3",
        "scale": [1, 10],
        "temperature": 0.0,
        "logprobs": True,
        "max_tokens": 256,
    }


def test_rubrics_ship_and_are_read_from_files(tmp_path):
    assert {"helpfulness", "harmlessness", "honesty", "truthfulness", "instruction_following"} <= set(RUBRICS)
    assert len({rubric.digest for rubric in RUBRICS.values()}) == len(RUBRICS)
    assert [c.name for c in RUBRICS["ultrafeedback"].criteria] == [
        "instruction_following",
        "helpfulness",
        "honesty",
        "truthfulness",
    ]
    path = tmp_path / "mine.yaml"
    path.write_text(
        "text: Judge rhymes\ncriteria:\n- {name: rhyme, text: it rhymes, weight: 3}\n- {name: metre, text: it scans}\n"
    )
    rubric = rubric_of(str(path))
    assert rubric.name == "mine"
    assert rubric.score({"rhyme": 10, "metre": 2}) == 8
    (tmp_path / "plain.txt").write_text("Judge whether it rhymes.\n")
    assert rubric_of(str(tmp_path / "plain.txt")) == Rubric("plain", "Judge whether it rhymes.")
    assert rubric_of("Judge whether it rhymes.").name == "custom"
    path.write_text("criteria: [{name: two words, text: x}]\ntext: y")
    for wrong in (str(path), str(tmp_path / "none.yaml"), "helpfullness"):
        with pytest.raises(dm.DataMapError, match="rubric"):
            rubric_of(wrong)


def test_several_criteria_in_one_call():
    def script(request, _):
        schema = request["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["honesty"] == {"type": "integer", "minimum": 1, "maximum": 10}
        assert "logprobs" not in request
        return completion(request, json.dumps(dict(zip(schema["required"], (10, 8, 6, 4), strict=True))))

    with LLMServer(script) as server:
        table, _ = annotated(dm.LLMJudge("m", base_url=server.url, rubric="ultrafeedback"))
        assert len(server.requests) == 15
    assert {score for scores in table["datamap_scores"] for score in scores} == {7.0}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"instruction_following": 11, "helpfulness": 1, "honesty": 1, "truthfulness": 1}', "outside the scale"),
        ('{"instruction_following": 9, "helpfulness": 1, "honesty": 1}', "nonsense: truthfulness"),
        (
            '{"instruction_following": "many", "helpfulness": 1, "honesty": 1, "truthfulness": 1}',
            "nonsense: instruction",
        ),
        ("all fine", "nonsense: no JSON"),
        ("[1, 2, 3, 4]", "nonsense: no JSON"),
    ],
)
def test_what_is_no_judgement_by_criteria_is_no_score(text, why):
    with pytest.raises(Unanswered, match=why):
        read_verdicts(ChatReply(text), JudgeForm(RUBRICS["ultrafeedback"]))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.from_regex(r'\{"1": [\w{}":, .-]{0,30}, "2": -?\d{1,3}\}', fullmatch=True))
def test_any_listwise_reply_is_read_or_refused(text):
    try:
        found = read_verdicts(ChatReply(text), JudgeForm(RUBRICS["helpfulness"], 2))
    except Unanswered:
        return
    assert all(1 <= verdict["score"] <= 10 for verdict in found)
    assert len(found) == 2


def test_a_wrapped_reply_is_read():
    wrapped = 'Here you are:\n```json\n{"1": {"rationale": "good {fine}", "score": 9}}\n```'
    assert read_verdicts(ChatReply(wrapped), JudgeForm(RUBRICS["helpfulness"], 1, rationale=True))[0] == {
        "score": 9.0,
        "noise": None,
        "rationale": "good {fine}",
    }


def test_listwise_scores_all_responses_in_one_request_whatever_their_order():
    with LLMServer(by_length) as server:
        judge = dm.LLMJudge("m", base_url=server.url, mode="listwise")
        table, data_map = annotated(judge)
        assert len(server.requests) == len(ROWS)
        assert all(a < b < c for a, b, c in table["datamap_scores"])
        assert data_map.provenance["scorer"]["prompt"] == "listwise-3"
        positions = {tuple(len(text) for text in responses_of(request).values()) for request in server.requests}
        assert len(positions) > 1  # shuffled, and not always the same way
        server.forget()
        backwards = [{**row, "responses": [*row["responses"][::-1], "", None, row["responses"][0]]} for row in ROWS]
        again, _ = annotated(judge, backwards)
        assert server.requests == []  # the same texts: the same question
        for scores, before in zip(again["datamap_scores"], table["datamap_scores"], strict=True):
            assert scores == [*before[::-1], None, None, before[0]]


def test_several_orders_give_noise_and_swapping_shows_position_bias():
    def first_is_best(request, _):
        return completion(request, json.dumps({k: 9 if k == "1" else 3 for k in responses_of(request)}))

    rows = [{"prompt": "Q", "responses": ["alpha", "beta"]}]
    with LLMServer(first_is_best) as server:
        judge = dm.LLMJudge("m", base_url=server.url, mode="listwise", orders=2)
        table, _ = annotated(judge, rows)
        assert table["datamap_scores"][0] == [6.0, 6.0]
        assert table["datamap_noise"][0] == pytest.approx(statistics.variance([9, 3]) / 2)
        asked = [list(responses_of(request).values()) for request in server.requests]
        assert asked[0] == asked[1][::-1]
        one = dm.LLMJudge("m", base_url=server.url, mode="listwise")
        server.forget()
        plain, swapped = (annotated(j, rows)[0]["datamap_scores"][0] for j in (one, one.swapped()))
        assert server.requests == []
        assert plain == swapped[::-1]
        assert dm.LLMJudge("m", base_url=server.url).swapped() is None


def test_a_listwise_reply_that_lacks_a_response_fails_the_row():
    with LLMServer(lambda request, _: completion(request, '{"1": 4, "2": 5}')) as server:
        table, _ = annotated(dm.LLMJudge("m", base_url=server.url, mode="listwise"), ROWS[:1])
    assert table["datamap_status"][0] == "failed"
    assert "nonsense: 3: Field required" in table["datamap_error"][0]


def test_samples_give_noise():
    def script(request, _):
        return completion(request, json.dumps({"score": 4 + 2 * request.get("seed", 0)}))

    with LLMServer(script) as server:
        table, _ = annotated(dm.LLMJudge("m", base_url=server.url, samples=3, logprobs=False), ROWS[:1])
        assert {request["temperature"] for request in server.requests} == {1.0}
    assert table["datamap_scores"][0] == [6.0] * 3
    assert table["datamap_noise"][0] == pytest.approx(4 / 3)


@pytest.mark.parametrize("mode", ["pointwise", "listwise"])
def test_rationales_are_a_column_when_asked_for(mode):
    def script(request, _):
        texts = responses_of(request)
        one = {k: {"rationale": f"about {v}", "score": 5} for k, v in texts.items()}
        return completion(request, json.dumps(one if mode == "listwise" else one["1"]))

    rows = [*ROWS[:2], {"prompt": "Q", "responses": ["x", ""]}]
    with LLMServer(script) as server:
        judge = dm.LLMJudge("m", base_url=server.url, mode=mode, rationales=True)
        table, _ = annotated(judge, rows)
        assert table["datamap_rationales"][0] == [f"about {text}" for text in ROWS[0]["responses"]]
        assert table["datamap_rationales"][2] == ["about x", None]
        mapped = Dataset.from_list(rows).map(dm.score_fn(judge), batched=True, batch_size=1)
        assert mapped["datamap_rationales"] == table["datamap_rationales"]
        assert mapped.features["datamap_rationales"] == table.features["datamap_rationales"]
        assert dm.score_fn(judge).features(Dataset.from_list(rows)).keys() == mapped.features.keys()
    plain, _ = dm.annotate(Dataset.from_list(rows), dm.ColumnScorer("responses"), progress=False)
    assert "datamap_rationales" not in plain.column_names


def test_a_judge_with_a_reference_sees_it_and_does_without_rows_that_have_none():
    rows = [
        {"prompt": "Q", "responses": ["a", "b"], "reference": "the right answer"},
        {"prompt": "R", "responses": ["a", "b"], "reference": ""},
    ]
    with LLMServer() as server:
        table, _ = annotated(dm.LLMJudge("m", base_url=server.url, rubric="reference"), rows)
        assert len(server.requests) == 2
        assert all("the right answer" in request["messages"][1]["content"] for request in server.requests)
    assert table["datamap_status"] == ["ok", "failed"]
    assert "no reference answer" in table["datamap_error"][1]


def test_multi_turn_prompts_and_system_messages_reach_the_judge():
    turns = [
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Ahoy"},
        {"role": "user", "content": "Where is the gold?"},
    ]
    with LLMServer() as server:
        annotated(dm.LLMJudge("m", base_url=server.url), [{"prompt": turns, "responses": ["Here", "There"]}])
        text = server.requests[0]["messages"][1]["content"]
    places = [text.index(f" {turn['role']}]]") for turn in turns[:3]]
    assert places == sorted(places)
    assert all(turn["content"] in text for turn in turns)


def test_a_reasoning_model_is_asked_as_it_wants_to_be():
    """An endpoint with the manners of OpenAI's reasoning models: each refusal costs one request, once."""

    def script(request, _):
        if "logprobs" in request:
            return error(403, "You are not allowed to request logprobs from this model")
        if "top_logprobs" in request:
            return error(400, "logprobs must be true to use top_logprobs", param="top_logprobs")
        if "max_tokens" in request:
            return error(
                400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens"
            )
        if request.get("temperature", 1) != 1:
            return error(400, "Unsupported value: 'temperature' does not support 0.0", param="temperature")
        assert request["max_completion_tokens"] == 8192
        assert request["reasoning_effort"] == "low"
        return completion(request, '<think>Is it 3? No, {"score": 3} is harsh.</think>\n{"score": 8}')

    with LLMServer(script) as server:
        judge = dm.LLMJudge("o4-mini", base_url=server.url, reasoning_effort="low", max_in_flight=1)
        table, _ = annotated(judge)
        assert len(server.requests) == 15 + 3
    assert {score for scores in table["datamap_scores"] for score in scores} == {8.0}


def test_an_endpoint_that_does_not_know_reasoning_effort():
    def script(request, _):
        if "reasoning_effort" in request:
            return error(400, "Unrecognized request argument supplied: reasoning_effort")
        return completion(request)

    with LLMServer(script) as server:
        table, _ = annotated(dm.LLMJudge("m", base_url=server.url, reasoning_effort="high", max_in_flight=1), ROWS[:1])
        assert table["datamap_status"] == ["ok"]
        assert len(server.requests) == 4


def test_options_are_checked_and_a_judge_travels_without_its_key():
    for wrong in ({"mode": "pairwise"}, {"orders": 2}, {"samples": 0}, {"rubric": "nice"}):
        with pytest.raises(dm.DataMapError):
            dm.LLMJudge("m", **wrong)
    judge = dm.LLMJudge("m", base_url="http://h/v1", api_key="sk-secret-1", mode="listwise", orders=3, rationales=True)
    data = pickle.dumps(judge)
    assert b"sk-secret-1" not in data
    assert pickle.loads(data).identity == judge.identity


def test_listwise_spends_fewer_tokens():
    """At least three times fewer where the prompt outweighs the answers, as in long-context QA."""
    example = Example(({"role": "user", "content": "word " * 2500},), [f"answer {i} " * 20 for i in range(4)])

    def spent(judge):
        return sum(sum(judge.estimate(task)) for task in judge.tasks(example))

    one, all_at_once = (dm.LLMJudge("m", base_url="http://h/v1", mode=mode) for mode in ("pointwise", "listwise"))
    assert spent(one) > 3 * spent(all_at_once)


@pytest.mark.parametrize(
    ("options", "count", "room"),
    [
        ({}, 4, 256),
        ({"mode": "listwise"}, 4, 256),
        ({"mode": "listwise"}, 40, 40 * 7),
        ({"mode": "listwise", "rubric": "ultrafeedback"}, 16, 16 * 40),
        ({"mode": "listwise", "rubric": "ultrafeedback", "rationales": True}, 40, 40 * (40 + 100)),
        ({"mode": "listwise", "max_tokens": 99}, 40, 99),
    ],
)
def test_there_is_room_for_all_that_is_asked_for(options, count, room):
    judge = dm.LLMJudge("m", base_url="http://h/v1", **options)
    body = judge.body(
        judge.tasks(Example(({"role": "user", "content": "Q"},), [f"r{i}" for i in range(count)]))[0].payload
    )
    assert room <= body["max_tokens"] <= 4 * room
    assert (body["max_tokens"] == room) == (room in (256, 99))


def test_an_estimate_knows_that_other_scripts_take_more_tokens():
    def sent(text):
        judge = dm.LLMJudge("m", base_url="http://h/v1")
        return judge.estimate(judge.tasks(Example(({"role": "user", "content": "Q"},), [text]))[0])[0]

    assert sent("word " * 400) - sent("x") == pytest.approx(500, abs=2)
    assert sent("한국어입니다" * 100) - sent("x") == pytest.approx(450, abs=2)


def test_the_command_line_has_the_judges_options(tmp_path):
    from hf_datamap.cli import main

    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in ROWS))

    def script(request, _):
        schema = request["response_format"]["json_schema"]["schema"]
        one = {name: 5 for name in schema["$defs"]["judgement"]["required"] if name != "rationale"}
        return completion(request, json.dumps({k: one | {"rationale": "so so"} for k in schema["required"]}))

    with LLMServer(script) as server:
        judge = ["--scorer", "judge:m", "--base-url", server.url, "--rubric", "ultrafeedback", "--listwise"]
        main(["map", str(data), *judge, "--rationales", "--correct-noise", "--out", str(tmp_path / "map")])
        assert len(server.requests) == len(ROWS)
    mapped = Dataset.from_parquet(str(next((tmp_path / "map" / "data").glob("*.parquet"))))
    assert mapped["datamap_rationales"][0] == ["so so"] * 3
    assert "datamap_variance_observed" in mapped.column_names
