"""Real rows, where ``../shared/data`` is there: what must be read from each file, written out."""

# ruff: noqa: E501 - tables of files

from __future__ import annotations

from pathlib import Path

import pytest

from hf_datamap.data import detect_layout
from hf_datamap.data.group_rows import group_rows
from hf_datamap.data.load import load_source
from hf_datamap.errors import LayoutError, RowError

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real data is not there: {DATA}")


def load(name: str):
    if not (DATA / name).exists():
        pytest.skip(f"not there: {DATA / name}")
    return load_source(DATA / name)


def read_all(ds):
    layout = detect_layout(ds)
    return layout, layout.read_batch(ds.with_format("arrow")[:])


#: file, layout, number of responses, annotations of the first row, start of the first prompt (system aside), unreadable rows
FILES = [
    ("human_judgebench_gpt4o_with_rm_scores.jsonl.gz", "judgebench", 2, [1.0, 0.0], "A college student initiated"),
    ("human_llmbar_faireval.jsonl.gz", "llmbar", 2, [1.0, 0.0], "How can I improve my time"),
    ("human_llmbar_llmeval2.jsonl.gz", "llmbar", 2, [1.0, 0.0], "Complete the given sentence"),
    ("human_llmbar_natural.jsonl.gz", "llmbar", 2, [1.0, 0.0], "Summarize the following content."),
    ("human_pandalm.jsonl.gz", "pandalm", 2, [0.0, 1.0], "Come up with some search queries"),
    ("human_qafeedback_n4.jsonl.gz", "qa-feedback", 4, [0.5, 2 / 3, 0.0, 2.5 / 3], "When does bloom by troye sivan"),
    ("multi_alpacaeval1_ufshape.jsonl.gz", "ultrafeedback", 16, [1.0, 2.0, 2.0, 2.0], "What are the names of some"),
    ("multi_alpacaeval2_gpt4turbo.parquet", "alpaca-eval", 2, [0.9999997962, 0.0000002038], "What are the names of some"),
    ("multi_bon_tulu13b_n16.jsonl.gz", "best-of-n", 16, [1.000037053, 1.0000271088], "What are the names of some"),
    ("pairs_hh_harmless/test.jsonl.gz", "transcripts", 2, [1.0, 0.0], "Give me a list of bad words"),
    ("pairs_hh_harmless/train.jsonl.gz", "transcripts", 2, [1.0, 0.0], "what are some pranks with a pen"),
    ("pairs_ja_vicuna_gpt4_judged.jsonl.gz", "vicuna-pairwise", 2, [1.0, 0.0], "時間管理能力を向上させる"),
    ("pairs_lf_dpo_en.jsonl.gz", "sharegpt-pairs", 2, [1.0, 0.0], "Hi! I'd like to create a new"),
    ("pairs_lf_dpo_zh.jsonl.gz", "sharegpt-pairs", 2, [1.0, 0.0], "国会的转发\n美国国会由众议院"),
    ("pairs_lf_v1_messages.jsonl.gz", "pairs-implicit", 2, [1.0, 0.0], "Abdulah Hasanagic este mândrul"),
    ("pairs_medicalgpt_dpo_zh.jsonl.gz", "sharegpt-pairs", 2, [1.0, 0.0], "20个关于新鲜果汁菜单的口号"),
    ("pairs_ultrafeedback_binarized/test.jsonl.gz", "ultrafeedback-binarized-metadata", 2, [9.0, 7.0], "Write a Java program"),
    ("pairs_ultrafeedback_binarized/train.jsonl.gz", "ultrafeedback-binarized-metadata", 2, [9.0, 8.0], "how to cook t-bone"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layout_name", "count", "annotations", "prompt"), FILES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_files_read_whole(name, layout_name, count, annotations, prompt):
    ds = load(name)
    layout, examples = read_all(ds)
    assert layout.name == layout_name
    assert not [e for e in examples if isinstance(e, RowError)]
    assert len(examples) == ds.num_rows
    assert {len(e.responses) for e in examples} == {count}
    first = examples[0]
    told = [m for m in first.prompt if m["role"] != "system"]
    assert prompt in told[0]["content"]
    assert told[-1]["role"] == "user"
    assert first.annotations[: len(annotations)] == pytest.approx(annotations)
    for row, example in zip(ds.select(range(min(ds.num_rows, 20))), examples, strict=False):
        assert layout.read(row) == example


def test_texts_are_those_of_the_row():
    row = load("pairs_ja_vicuna_gpt4_judged.jsonl.gz")[5]
    example = detect_layout(row).read(row)
    assert example.responses == [row["answer_1"], row["answer_2"]]
    chat = load("pairs_lf_v1_messages.jsonl.gz")[0]
    assert detect_layout(chat).read(chat).responses == [
        chat[side][-1]["content"][0]["value"] for side in ("chosen_messages", "rejected_messages")
    ]


def test_votes_are_averaged():
    for row, example in zip(ds := load("human_pandalm.jsonl.gz"), read_all(ds)[1], strict=True):
        votes = [row[f"annotator{k}"] for k in (1, 2, 3)]
        assert example.annotations == pytest.approx([(votes.count(k) + votes.count(0) / 2) / 3 for k in (1, 2)])


def test_scores_beside_the_responses_are_named():
    names = {
        "multi_alpacaeval1_ufshape.jsonl.gz": "completions[].overall_score",
        "multi_bon_tulu13b_n16.jsonl.gz": "preference[]",
    }
    names["pairs_ultrafeedback_binarized/test.jsonl.gz"] = "metadata.score_chosen,metadata.score_rejected"
    for name, path in names.items():
        assert detect_layout(load(name).features).scores == path
    assert "5 reward models" in detect_layout(load("human_judgebench_gpt4o_with_rm_scores.jsonl.gz").features).why


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prompts_alpacaeval.jsonl.gz", "prompts without responses"),
        ("prompts_biggen_rubric_reference.jsonl.gz", "prompts without responses"),
        ("prompts_ifeval_en.jsonl.gz", "prompts without responses"),
        ("prompts_logickor_ko.jsonl.gz", "prompts without responses"),
        ("prompts_mtbench.jsonl.gz", "prompts without responses"),
        ("scores_wildbench_two_judges.parquet", "scores without prompts and responses"),
        ("unpaired_lf_kto_en.jsonl.gz", "Group the rows first"),
        ("multi_logickor_ko.jsonl.gz", "Group the rows first"),
        ("reference_prometheus_vicuna.jsonl.gz", "Group the rows first"),
        ("verifiable_ifeval_en_17models.parquet", "Group the rows first"),
        ("verifiable_mifeval_es_17models.parquet", "Group the rows first"),
    ],
)
def test_files_that_are_refused(name, words):
    with pytest.raises(LayoutError, match=words):
        detect_layout(load(name))


#: file, prompts, responses per prompt, rows that cannot be read after grouping
GROUPED = [
    ("multi_alpacaeval2_gpt4turbo.parquet", 805, 40, 0),
    ("multi_logickor_ko.jsonl.gz", 42, 65, 1),
    ("reference_prometheus_vicuna.jsonl.gz", 80, 4, 0),
    ("unpaired_lf_kto_en.jsonl.gz", 3, 2, 0),
    ("verifiable_ifeval_en_17models.parquet", 365, 17, 0),
    ("verifiable_mifeval_es_17models.parquet", 115, 17, 0),
]


@pytest.mark.parametrize(("name", "prompts", "count", "unreadable"), GROUPED)
def test_grouped_files(name, prompts, count, unreadable):
    reports = []
    ds = group_rows(load(name), on_report=reports.append)
    _, examples = read_all(ds)
    assert ds.num_rows == prompts == reports[0].groups
    assert sum(isinstance(e, RowError) for e in examples) == unreadable
    assert {len(e.responses) for e in examples if not isinstance(e, RowError)} == {count}


def test_grouped_responses_keep_their_numbers():
    source = load("verifiable_ifeval_en_17models.parquet")
    ds = group_rows(source, on_report=lambda report: None)
    by_prompt = {}
    for row in source:
        by_prompt.setdefault(row["prompt"], []).append(row)
    for row in ds.select(range(50)):
        rows = by_prompt[row["prompt"]]
        assert row["responses"] == [r["response"] for r in rows]
        assert row["models"] == [r["model"] for r in rows]
        assert row["follow_all_instructions"] == [r["follow_all_instructions"] for r in rows]
    example = detect_layout(ds).read(ds[0])
    assert [c.id for c in example.constraints] == ["en:punctuation:no_comma", "en:length_constraints:number_words"]
    assert example.constraints[1].kwargs == {"relation": "at least", "num_words": 801}


def test_two_turn_answers_are_read_as_dialogues():
    ds = group_rows(load("multi_logickor_ko.jsonl.gz"), on_report=lambda report: None)
    example = detect_layout(ds).read(ds[0])
    assert len(example.prompt) == 1
    assert example.responses[0].startswith("사회 구성원의 대다수가")
    assert "\n\nUser: " in example.responses[0]
