"""Every line of the table of real layouts, by hand-made rows: prompt, responses, order and polarity written out."""

from __future__ import annotations

import pickle

import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.data import Layout, detect_layout, parse_layout
from hf_datamap.errors import LayoutError
from tests.data.rows import ASKED, BAD, CASES, GOOD, PAIR, Case, Q


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> Case:
    return request.param


def _detect(case: Case, source) -> Layout:
    return parse_layout(case.layout) if case.layout else detect_layout(source)


def _rows(case: Case) -> list[dict]:
    return [case.row, *({**case.row, **change} for change, _ in case.more)]


def test_reads_as_documented(case):
    ds = Dataset.from_list(_rows(case))
    layout = _detect(case, ds)
    example = layout.read(ds[0])
    assert [(m["role"], m["content"]) for m in example.prompt] == case.prompt
    assert example.responses == case.responses
    assert example.annotations == case.annotations
    assert example.source_id == case.source_id or case.layout
    assert layout.scores == case.scores or case.layout
    assert case.found in {"", layout.name}
    for number, (_, labels) in enumerate(case.more, 1):
        assert layout.read(ds[number]).annotations == labels


def test_every_way_of_reading_agrees(case):
    ds = Dataset.from_list(_rows(case))
    layout = _detect(case, ds)
    singly = [layout.read(row) for row in ds]
    assert layout.read_batch(ds.with_format("arrow")[:]) == singly
    assert layout.read_batch(ds.data.table.to_batches()[0]) == singly
    assert layout.read_batch(ds[:]) == singly
    lazily = []
    ds.map(lambda batch: lazily.extend(layout.read_batch(batch)), batched=True, batch_size=2)
    assert lazily == singly


def test_detection_needs_features_alone_and_says_why(case):
    if case.layout:  # the choice is the user's: features alone must not make it
        with pytest.raises(LayoutError):
            detect_layout(Dataset.from_list(_rows(case)).features)
        return
    ds = Dataset.from_list(_rows(case))
    if case.name == "a list of responses as JSON":
        assert detect_layout(ds.to_iterable_dataset()).name == case.found  # only values can tell a string holds JSON
        return
    layout = detect_layout(ds.features)
    assert layout.name == case.found
    assert layout == detect_layout(ds.features), "deterministic"
    assert layout.why
    assert detect_layout(DatasetDict(train=ds, test=ds)) == detect_layout(ds)
    assert detect_layout(ds.to_iterable_dataset()).name == case.found


def test_columns_are_all_that_is_needed(case):
    ds = Dataset.from_list(_rows(case))
    layout = _detect(case, ds)
    narrow = ds.select_columns(list(layout.columns))
    assert layout.read(narrow[0]) == layout.read(ds[0])


def test_survives_json_and_pickle(case):
    layout = _detect(case, Dataset.from_list(_rows(case)))
    assert Layout.from_json(layout.to_json()) == layout
    assert parse_layout(layout.to_json()) == layout
    assert pickle.loads(pickle.dumps(layout)) == layout


def test_several_labels_are_a_choice():
    row = {"prompt": Q, "response_0": GOOD, "response_1": BAD, "better_response_id": 1, "safer_response_id": 0}
    with pytest.raises(
        LayoutError, match=r"(?s)--layout pku-saferlhf-helpful.*helpful.*--layout pku-saferlhf-safe.*safer"
    ):
        detect_layout(Dataset.from_list([row]).features)


def test_scores_of_several_reward_models_are_a_choice():
    chat = [{"role": "user", "content": Q}, {"role": "assistant", "content": GOOD}]
    scores = {"org/a": 1.0, "org/b.5": 2.0}
    ds = Dataset.from_list([{"chosen": chat, "rejected": chat, "chosen_score": scores, "rejected_score": scores}])
    layout = detect_layout(ds)
    assert layout.scores is None
    assert layout.read(ds[0]).annotations == [1.0, 0.0]
    assert "2 reward models" in layout.why
    assert "columns:chosen_score.org/a,rejected_score.org/a" in layout.why


def test_extras_ride_along():
    row = {
        "prompt": Q, "responses": PAIR, "system_prompt": "Be kind.", "reference_answer": "Scattering.", "id": 12,
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{"num_words": None, "relation": None}, {"num_words": 20, "relation": "at least"}],
    }  # fmt: skip
    ds = Dataset.from_list([row])
    example = detect_layout(ds).read(ds[0])
    assert [(m["role"], m["content"]) for m in example.prompt] == [("system", "Be kind."), *ASKED]
    assert example.references == ("Scattering.",)
    assert example.source_id == "12"
    assert [(c.id, c.kwargs) for c in example.constraints] == [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"num_words": 20, "relation": "at least"}),
    ]
    as_json = {**row, "kwargs": '[{}, {"num_words": 20, "relation": "at least"}]'}
    ds = Dataset.from_list([as_json])
    assert detect_layout(ds.features).read(ds[0]).constraints == example.constraints


@pytest.mark.parametrize(
    "name",
    ["openbmb/UltraFeedback", "a list of responses with a parallel list of scores", "trl explicit conversational"],
)
def test_datasets_in_numpy_format_read_alike(name):
    case = next(case for case in CASES if case.name == name)
    ds = Dataset.from_list([case.row])
    layout = detect_layout(ds)
    assert layout.read(ds.with_format("numpy")[0]) == layout.read(ds[0])
    assert layout.read_batch(ds.with_format("numpy")[:]) == [layout.read(ds[0])]
