"""The Batch API against a real local server: parts, errors per line, expiry, cancelling, other machines."""

import json
import shutil

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.cli import main
from hf_datamap.scoring.openai_batch import BatchJob, cancel_batch, collect_batch, submit_batch
from tests.servers.batches import BatchServer, answered
from tests.servers.llm import completion, error, score_of

ROWS = [{"prompt": f"Question {i}", "responses": [f"first {i}", f"second {i}"]} for i in range(10)]
DS = Dataset.from_list(ROWS)


def judge_of(server, **options):
    return dm.LLMJudge("m", base_url=server.url, api_key="sk-secret-123456", **options)


def some_scores(request, _=0):
    """Scores for as many responses as are asked about."""
    names = request["response_format"]["json_schema"]["schema"]["required"]
    return completion(request, json.dumps({name: (len(name) + score_of(request)) % 10 + 1 for name in names}))


def live(**options):
    """What the same judge gives when it is asked the usual way."""
    with BatchServer(script=some_scores) as server:
        return dm.annotate(DS, judge_of(server, **options), progress=False)[0]


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Moves to a machine with an empty store."""

    def move(name="other"):
        monkeypatch.setenv("HF_DATAMAP_CACHE", str(tmp_path / name))

    return move


@pytest.mark.parametrize("mode", ["pointwise", "listwise"])
def test_a_batch_gives_what_asking_gives(mode, elsewhere):
    expected = live(mode=mode)
    elsewhere()
    with BatchServer(script=some_scores) as server:
        judge = judge_of(server, mode=mode)
        job = submit_batch(DS, judge)
        asked = 20 if mode == "pointwise" else 10
        assert len(server.requests) == 1  # one at once, to see that all is well
        assert sum(part.requests for part in job.parts) == asked - 1
        waiting = collect_batch(job, DS, judge)
        assert waiting.pending
        assert waiting.done == 0
        server.finish(job.parts[0].batch)
        state = collect_batch(job, DS, judge)
        assert not state.pending
        assert state.answered == asked
        assert state.input_tokens == 100 * (asked - 1)
        table, data_map = dm.annotate(DS, state.scorer, progress=False)
        assert len(server.requests) == 1
        assert table["datamap_scores"] == expected["datamap_scores"]
        assert data_map.provenance["scorer"] == json.loads(json.dumps(judge.identity))
        # Nothing is left to submit.
        assert submit_batch(DS, judge).parts == ()


def test_lines_are_requests_as_they_would_be_sent_and_hold_no_secret():
    def script(request, _):
        from tests.servers.llm import completion

        return (
            error(400, "Unknown parameter: 'logprobs'", param="logprobs")
            if "logprobs" in request
            else completion(request)
        )

    with BatchServer(script=script) as server:
        job = submit_batch(DS, judge_of(server))
        line = server.lines[job.parts[0].batch][0]
        assert set(line) == {"custom_id", "method", "url", "body"}
        assert line["body"]["model"] == "m"
        assert "logprobs" not in line["body"]  # learnt from the request that was asked at once
        assert line["body"]["messages"][0]["role"] == "system"
        assert "sk-secret" not in json.dumps(server.lines)


def test_parts_keep_to_the_limits(tmp_path):
    with BatchServer() as server:
        job = submit_batch(DS, judge_of(server), most_lines=8)
        assert [part.requests for part in job.parts] == [8, 8, 3]
        assert all(len(server.files[part.file].splitlines()) == part.requests for part in job.parts)
    with BatchServer() as server:
        size = max(len(line) for line in server.files.get("", b"").splitlines() or [b"x" * 4000])
        job = submit_batch(DS, judge_of(server), most_bytes=3 * size)
        assert len(job.parts) > 1
        assert all(len(server.files[part.file]) <= 3 * size for part in job.parts)
        assert sum(part.requests for part in job.parts) == 19
    with BatchServer() as server:
        assert sum(part.requests for part in submit_batch(DS, judge_of(server), most_requests=5).parts) == 5


def test_an_interrupted_submission_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "job.json"
    with BatchServer() as server:
        server.fail_after = 2
        judge = judge_of(server)
        with pytest.raises(dm.DataMapError, match="Enqueued token limit"):
            submit_batch(DS, judge, most_lines=6, save=lambda job: job.save(path))
        job = BatchJob.load(path)
        assert (len(job.parts), job.complete) == (2, False)
        server.fail_after = None
        job = submit_batch(DS, judge, most_lines=6, job=job, save=lambda job: job.save(path))
        assert job.complete
        assert BatchJob.load(path) == job
        keys = [line["custom_id"] for lines in server.lines.values() for line in lines]
        assert len(keys) == len(set(keys)) >= 18


def test_errors_of_lines_are_errors_of_responses(elsewhere):
    def answer(request):
        line = answered(request)
        text = request["body"]["messages"][1]["content"]
        if "first 3" in text:
            line["response"] = {"status_code": 400, "body": {"error": {"message": "content policy"}}}
        elif "first 4" in text:
            line["response"]["body"]["choices"][0]["message"] = {"role": "assistant", "refusal": "no", "content": None}
        elif "first 5" in text:
            line["response"]["body"]["choices"][0]["message"]["content"] = '{"score": 99}'
        return line

    with BatchServer() as server:
        judge = judge_of(server)
        job = submit_batch(DS, judge)
        server.finish(job.parts[0].batch, answer=answer)
        state = collect_batch(job, DS, judge)
        assert state.failed == {"batch request failed": 1, "refused": 1, "outside the scale": 1}
        table, _ = dm.annotate(DS, state.scorer, progress=False)
        assert [table["datamap_status"][i] for i in (2, 3, 4, 5, 6)] == ["ok", "partial", "partial", "partial", "ok"]
        assert "content policy" in table["datamap_error"][3]
        # A failure is no answer: it can be asked again, the usual way.
        server.forget()
        again, _ = dm.annotate(DS, judge, progress=False)
        assert len(server.requests) == 3
        assert set(again["datamap_status"]) == {"ok"}


def test_expiry_keeps_what_is_done_and_the_rest_can_be_submitted_again():
    with BatchServer() as server:
        judge = judge_of(server)
        job = submit_batch(DS, judge)
        server.finish(job.parts[0].batch, status="expired", count=7)
        state = collect_batch(job, DS, judge)
        assert not state.pending
        assert state.answered == 8
        assert state.failed == {"batch request failed": 12}
        table, _ = dm.annotate(DS, state.scorer, progress=False)
        assert "completion window expired" in table["datamap_error"][9]
        second = submit_batch(DS, judge)
        assert sum(part.requests for part in second.parts) >= 11
        server.finish(second.parts[0].batch)
        assert collect_batch(second, DS, judge).answered == 20


def test_a_rejected_batch_and_a_cancelled_one():
    with BatchServer() as server:
        judge = judge_of(server)
        job = submit_batch(DS, judge, most_lines=10)
        server.reject(job.parts[0].batch, "line 1 is too long")
        cancel_batch(job, judge)
        assert server.batches[job.parts[0].batch]["status"] == "failed"
        assert collect_batch(job, DS, judge).pending  # cancelling
        server.finish(job.parts[1].batch, status="cancelled", count=2)
        state = collect_batch(job, DS, judge)
        assert dict(state.statuses) == {"failed": 1, "cancelled": 1}
        assert state.failed == {"batch failed": 10, "batch cancelled": 7}
        assert "10 without an answer: batch failed" in str(state)


def test_wrong_keys_lost_batches_and_other_judges_are_told(tmp_path):
    with BatchServer(key="sk-right-123456") as server:
        wrong = dm.LLMJudge("m", base_url=server.url, api_key="sk-wrong-123456")
        with pytest.raises(dm.DataMapError) as caught:
            submit_batch(DS, wrong)
        assert "sk-wrong" not in str(caught.value)
        right = dm.LLMJudge("m", base_url=server.url, api_key="sk-right-123456")
        job = submit_batch(DS, right)
        with pytest.raises(dm.DataMapError, match="temperature differ"):
            collect_batch(job, DS, dm.LLMJudge("m", base_url=server.url, temperature=0.5))
        server.batches.clear()
        with pytest.raises(dm.DataMapError, match="No batch found"):
            collect_batch(job, DS, right)
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    with pytest.raises(dm.DataMapError, match="no submitted batches"):
        BatchJob.load(bad)


def test_the_command_submits_and_collects_on_another_machine(tmp_path, elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in ROWS))

    def run(*words):
        try:
            main(["map", *map(str, words)])
        except SystemExit as ended:
            return ended.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    with BatchServer() as server:
        judge = ("--scorer", "judge:m")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, said = run(data, *judge, "--batch", "--out", tmp_path / "map")
        assert code == 0, said
        assert "submitted 19 requests in 1 batches" in said
        provenance = tmp_path / "map.batch.json"
        assert "sk-secret" not in provenance.read_text()
        assert not (tmp_path / "map").exists()
        code, said = run(data, *judge, "--resume", "--out", tmp_path / "map")
        assert code == 1
        assert "0 of 19 requests done" in said
        elsewhere()
        monkeypatch.delenv("OPENAI_BASE_URL")  # the other machine knows the file and the key, no more
        moved = tmp_path / "far" / "away.batch.json"
        moved.parent.mkdir()
        shutil.move(provenance, moved)
        server.finish(next(iter(server.batches)), status="expired", count=15)
        server.forget()
        code, said = run(moved, "--resume", "--out", tmp_path / "far" / "map")
        assert code == 0, said
        assert server.requests == []
        assert "4 without an answer" in said
        assert f"without --batch, or {moved.name} removed" in said
        server.finish(next(iter(server.batches)))
        code, said = run(moved, "--resume", "--out", tmp_path / "far" / "map")
        assert "without" not in said
        data_map = json.loads((tmp_path / "far" / "map" / "datamap.json").read_text())
        assert data_map["provenance"]["rows"]["ok"] == 10
        code, said = run(data, "--scorer", "columns:x", "--batch", "--out", tmp_path / "third")
        assert (code, "judge:MODEL" in said) == (2, True)


def test_rubrics_in_a_column_go_with_a_batch_and_written_ones_are_refused():
    rows = Dataset.from_list([{"prompt": f"Q{i}", "responses": ["a", "b"], "wanted": f"Name {i}."} for i in range(4)])
    with BatchServer(script=some_scores) as server:
        job = submit_batch(rows, judge_of(server, rubric_column="wanted"))
        assert sum(part.requests for part in job.parts) == 7
        assert "Name 0." in server.requests[0]["messages"][1]["content"]
        with pytest.raises(dm.ScorerError, match="rubric_writer"):
            submit_batch(rows, judge_of(server, rubric_writer="m"))
