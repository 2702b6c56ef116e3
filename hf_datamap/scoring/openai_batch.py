"""OpenAI's Batch API for judges: half the price, answers within 24 hours.

Requests go up as JSONL files, in parts that keep to the API's limits; each line carries as ``custom_id`` the key under
which the score store keeps its answer. So all that must be remembered is the ids of the batches (`BatchJob`, a small
JSON file without secrets): on any machine, the dataset and the scorer give the same keys again.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import Example, Layout
from hf_datamap.data.dataset import find_layout, tables_of
from hf_datamap.engine.config import __version__
from hf_datamap.engine.run import SKIPPED_MARK
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.secrets import mask
from hf_datamap.engine.store import Keys, Store
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.errors import DataMapError, RowError, ScorerError, Unanswered
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.judge import JudgeRequest, LLMJudge
from hf_datamap.scoring.score_rows import READ_ROWS
from hf_datamap.scoring.score_table import prepare
from hf_datamap.scoring.task_keys import TaskKeys

if TYPE_CHECKING:
    from datasets import Dataset
    from openai import OpenAI

_ENDPOINT: Final = "/v1/chat/completions"
_MOST_LINES, _MOST_BYTES = 50_000, 190_000_000  # of one file; the API's limits are 50,000 and 200 MB
_OVER: Final = ("completed", "expired", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        batch: its id.
        file: id of the file that went up.
        requests: lines in it.
    """

    batch: str
    file: str
    requests: int


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What must be remembered of submitted batches; no secrets.

    Attributes:
        scorer: identity of the judge.
        parts: the batches, in the order in which they went up.
        complete: whether all requests went up; else `submit_batch` goes on with the rest.
        answers: what was asked at once, by key: the answer, and the tokens that it took.
        options: what the caller needs to do the same again (the command line: source, scorer, layout).
        version: package version that submitted it.
    """

    scorer: Mapping[str, Any]
    parts: tuple[Batch, ...] = ()
    complete: bool = False
    answers: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__

    def save(self, path: str | Path) -> None:
        """Write the job to a JSON file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(json.dumps({"hf_datamap_batch": 1, **asdict(self)}, indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> BatchJob:
        """Read a job from a JSON file.

        Raises:
            DataMapError: the file is missing, or holds no job.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data.pop("hf_datamap_batch") != 1:
                raise ValueError("another format")
            return cls(**{**data, "parts": tuple(Batch(**part) for part in data["parts"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataMapError(f"{path} holds no submitted batches: {error}") from None


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far submitted batches are.

    Attributes:
        statuses: batches by status, as the API calls it.
        requests: requests in them.
        done: requests that the API has finished, well or not.
        answered: answers now in the store.
        failed: why requests have no answer, with counts.
        input_tokens: tokens sent, of the answers collected.
        output_tokens: tokens received.
        scorer: for `annotate`, once nothing is pending: gives what is in the store, and the reasons for the rest; asks
            nothing.
    """

    statuses: Mapping[str, int]
    requests: int
    done: int
    answered: int
    failed: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    scorer: CollectedJudge

    @property
    def pending(self) -> bool:
        """Whether a batch is still being worked on."""
        return any(status not in _OVER for status in self.statuses)

    def __str__(self) -> str:
        batches = ", ".join(f"{count} {status}" for status, count in self.statuses.items()) or "none"
        lines = [
            f"{self.done:,} of {self.requests:,} requests done, {self.answered:,} answers kept; batches: {batches}"
        ]
        lines += [f"  {count:,} without an answer: {reason}" for reason, count in self.failed.items()]
        return "\n".join(lines)


class CollectedJudge(Scorer):
    """A judge that answers from the store alone, and knows why the rest is missing."""

    def __init__(self, judge: LLMJudge, reasons: Mapping[bytes, str]) -> None:
        self._judge, self._reasons = judge, dict(reasons)
        self._keys = Keys(judge.identity)
        self.max_in_flight = judge.max_in_flight
        self.rationales = judge.rationales

    @property
    def identity(self) -> dict[str, JSON]:
        """The judge's own: its answers are those of the judge."""
        return self._judge.identity

    def tasks(self, example: Example) -> list[Task]:
        """The judge's tasks."""
        return self._judge.tasks(example)

    async def answer(self, task: Task) -> Answer:
        """Say why there is no answer.

        Raises:
            Unanswered: always.
        """
        raise Unanswered(self._reasons.get(self._keys.of(task.content), f"{SKIPPED_MARK}not in the batch"))

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """The judge's way."""
        return self._judge.combine(example, answers)


def submit_batch(
    ds: Dataset,
    judge: LLMJudge,
    *,
    layout: Layout | None = None,
    job: BatchJob | None = None,
    save: Callable[[BatchJob], None] = lambda _: None,
    options: Mapping[str, Any] | None = None,
    most_requests: int | None = None,
    most_lines: int = _MOST_LINES,
    most_bytes: int = _MOST_BYTES,
) -> BatchJob:
    """Submit what a judge has to be asked about a dataset, leaving out what is in the score store.

    One question is asked at once, at full price: it shows a wrong key or model, and which parameters the model does not
    know, before thousands of requests fail for it.

    Args:
        ds: the dataset.
        judge: the judge.
        layout: where prompt and responses are; detected from the columns by default.
        job: a job that was interrupted while it went up; the rest follows.
        save: called with the job after each batch; what it does not write down is lost with the process.
        options: kept in the job, see `BatchJob`.
        most_requests: the most requests to submit.
        most_lines: requests in one batch.
        most_bytes: size of one file.

    Raises:
        ScorerError: a job of another judge, or an endpoint without a batch API.
        EndpointError: wrong key, unknown model.
    """
    # Long: most of it documents the options.
    job = job or BatchJob(judge.identity, options=dict(options or {}))
    _check_judge(job, judge)
    if job.complete:
        return job
    client = _client(judge)
    with _plain_errors(judge):
        submitted_keys = {key for part in job.parts for key in _keys_of(client, part.file)}
    store = Store()
    tasks = (
        (key, task) for key, task in _tasks(ds, judge, layout) if key not in submitted_keys and not store.get((key,))
    )
    if (first := next(tasks, None)) is not None:
        request: JudgeRequest = first[1].payload
        alone = Example(request.prompt, list(request.responses), references=request.references, rubric=request.rubric)
        _, run = prepare(judge, [alone])
        engine().run(run)
        answers = {
            key.hex(): [kept.value, kept.input_tokens, kept.output_tokens] for key, kept in store.get(first[:1]).items()
        }
        job = replace(job, answers={**job.answers, **answers})
        rest = chain([] if answers else [first], tasks)
        lines = islice(_lines(rest, judge), most_requests)
        for data, count in _files(lines, most_lines, most_bytes):
            job = replace(job, parts=(*job.parts, _submit(client, judge, data, count)))
            save(job)
    store.close()
    job = replace(job, complete=True)
    save(job)
    return job


def collect_batch(job: BatchJob, ds: Dataset, judge: LLMJudge, *, layout: Layout | None = None) -> BatchState:
    """Fetch what is answered into the score store; may be called as often as one likes, on any machine.

    Args:
        job: what `submit_batch` returned.
        ds: the same data.
        judge: the same judge.
        layout: the same layout.

    Raises:
        ScorerError: a job of another judge, or an endpoint that does not know the batches.
    """
    _check_judge(job, judge)
    client = _client(judge)
    tasks = dict(_tasks(ds, judge, layout))
    store, collected = Store(), _Collected(judge, tasks)
    try:
        for key, kept in job.answers.items():
            store.put(bytes.fromhex(key), Answer(*kept))
        for part in job.parts:
            collected.take(client, part, store)
        answered = len(store.get(tasks))
    finally:
        store.close()
    return BatchState(
        statuses=dict(collected.statuses.most_common()),
        requests=sum(part.requests for part in job.parts),
        done=collected.done,
        answered=answered,
        failed=dict(Counter(reason.split(":")[0] for reason in collected.reasons.values()).most_common()),
        input_tokens=collected.input_tokens,
        output_tokens=collected.output_tokens,
        scorer=CollectedJudge(judge, collected.reasons),
    )


def cancel_batch(job: BatchJob, judge: LLMJudge) -> None:
    """Cancel the batches that are not over; what is answered by then can be collected, and is paid for.

    Raises:
        ScorerError: a job of another judge, or an endpoint that does not know the batches.
    """
    _check_judge(job, judge)
    client = _client(judge)
    for part in job.parts:
        with _plain_errors(judge):
            if client.batches.retrieve(part.batch).status not in (*_OVER, "cancelling"):
                client.batches.cancel(part.batch)


class _Collected:
    """What the parts of a job have brought."""

    def __init__(self, judge: LLMJudge, tasks: Mapping[bytes, Task]) -> None:
        self._judge, self._tasks = judge, tasks
        self.statuses: Counter[str] = Counter()
        self.reasons: dict[bytes, str] = {}
        self.done = self.input_tokens = self.output_tokens = 0

    def take(self, client: OpenAI, part: Batch, store: Store) -> None:
        """Fetch one part."""
        with _plain_errors(self._judge):
            batch = client.batches.retrieve(part.batch)
            self.statuses[batch.status] += 1
            self.done += (batch.request_counts.completed + batch.request_counts.failed) if batch.request_counts else 0
            if batch.status not in _OVER:
                return
            for name in (batch.output_file_id, batch.error_file_id):
                if name:
                    for line in client.files.content(name).text.splitlines():
                        self._line(line, store)
            if batch.status != "completed":
                errors = (batch.errors.data or []) if batch.errors else []
                messages = "; ".join(str(error.message) for error in errors)
                for key in _keys_of(client, part.file):
                    if key not in self.reasons and not store.get((key,)):
                        self.reasons[key] = f"batch {batch.status}{': ' + messages if messages else ''}"

    def _line(self, text: str, store: Store) -> None:
        """One line of an output or an error file."""
        try:
            line = json.loads(text)
            key = bytes.fromhex(line["custom_id"])
        except (ValueError, KeyError, TypeError):
            return
        task = self._tasks.get(key)
        if task is None:  # of rows that the dataset no longer has
            return
        response = line.get("response") or {}
        body = response.get("body") or {}
        if response.get("status_code") != 200:
            error = line.get("error") or body.get("error") or {}
            message = error.get("message") if isinstance(error, dict) else error
            self.reasons[key] = f"batch request failed: {' '.join(str(message or response).split())[:300]}"
            return
        try:
            answer = self._judge.read(body, task.payload)
        except Unanswered as error:
            self.reasons[key] = str(error)
            return
        store.put(key, answer)
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens


def _tasks(ds: Dataset, judge: LLMJudge, layout: Layout | None) -> Iterator[tuple[bytes, Task]]:
    """The judge's tasks by the key of their answer, each once."""
    layout = judge.read_with(find_layout(ds, layout, images=judge.takes_images))
    keys, seen = TaskKeys(judge), set()
    for batch in tables_of(ds, layout.columns, READ_ROWS):
        for example in layout.read_batch(batch):
            for key, (task, _) in [] if isinstance(example, RowError) else keys.tasks(example).items():
                if key not in seen:
                    seen.add(key)
                    yield key, task


def _files(lines: Iterator[bytes], most_lines: int, most_bytes: int) -> Iterator[tuple[bytes, int]]:
    """JSONL files within the limits, with how many lines each has."""
    data, count = io.BytesIO(), 0
    for line in lines:
        if count and (count == most_lines or data.tell() + len(line) > most_bytes):
            yield data.getvalue(), count
            data, count = io.BytesIO(), 0
        data.write(line)
        count += 1
    if count:
        yield data.getvalue(), count


def _lines(tasks: Iterable[tuple[bytes, Task]], judge: LLMJudge) -> Iterator[bytes]:
    """The requests as they stand in the file; what cannot be asked (an image that cannot be read) is left out."""
    for key, task in tasks:
        with contextlib.suppress(Unanswered):
            body = judge.endpoint.adapted(judge.body(task.payload))
            request = {"custom_id": key.hex(), "method": "POST", "url": _ENDPOINT, "body": body}
            yield json.dumps(request, ensure_ascii=True).encode("ascii") + b"\n"


def _submit(client: OpenAI, judge: LLMJudge, data: bytes, count: int) -> Batch:
    with _plain_errors(judge):
        uploaded = client.files.create(file=("requests.jsonl", data), purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id,
            endpoint=_ENDPOINT,
            completion_window="24h",
            metadata={"made_by": f"hf_datamap {__version__}"},
        )
    return Batch(batch.id, uploaded.id, count)


def _keys_of(client: OpenAI, file: str) -> list[bytes]:
    """The keys in a file that went up."""
    return [bytes.fromhex(json.loads(line)["custom_id"]) for line in client.files.content(file).text.splitlines()]


def _client(judge: LLMJudge) -> OpenAI:
    try:
        from openai import OpenAI
    except ImportError:
        raise ScorerError("batches are sent by OpenAI's client: pip install 'hf_datamap[batch]'") from None
    return OpenAI(base_url=judge.endpoint.base_url, api_key=judge.endpoint.key(), timeout=600)


@contextmanager
def _plain_errors(judge: LLMJudge) -> Iterator[None]:
    """Errors of the client, in our words."""
    try:
        yield
    except Exception as error:
        # Not imported before: without the extra, `_client` has said what is missing.
        from openai import OpenAIError

        if not isinstance(error, OpenAIError):
            raise
        message = mask(" ".join(str(error).split())[:300])
        raise ScorerError(f"{judge.endpoint.base_url} does not do batches as asked: {message}") from None


def _check_judge(job: BatchJob, judge: LLMJudge) -> None:
    now, then = json.loads(json.dumps(judge.identity)), json.loads(json.dumps(dict(job.scorer)))
    if judge.rubric_writer is not None:
        raise ScorerError(
            "rubrics that a model writes (rubric_writer=) must be there before what they are for is asked, and a batch "
            "is submitted at once: use annotate, or put the rubrics into a column (rubric_column=)"
        )
    if now != then:
        other = ", ".join(key for key in {**now, **then} if now.get(key) != then.get(key))
        raise ScorerError(f"these batches were submitted for another judge: {other} differ")
