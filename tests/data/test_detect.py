"""Refusals and choices: what they say."""

from __future__ import annotations

import pytest
from datasets import Dataset, DatasetDict, Features, Image, List, Value

from hf_datamap.data import Layout, detect_layout
from hf_datamap.errors import LayoutError, RowError


def refused(row: dict | Features, words: str) -> str:
    source = row if isinstance(row, Features) else Dataset.from_list([row]).features
    with pytest.raises(LayoutError, match=words) as error:
        detect_layout(source)
    return str(error.value)


def test_prompts_alone():
    told = refused({"prompt": "q", "key": 1}, "prompts without responses")
    assert "columns: prompt (text), key (number)" in told
    chat = [{"role": "user", "content": "q"}]
    rlvr = {"messages": chat, "ground_truth": "{}", "dataset": "ifeval", "constraint_type": "x", "constraint": "y"}
    refused(rlvr, "prompts without responses .*with checks in 'ground_truth'")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "a", "label": True},
        {"messages": [{"role": "user", "content": "q"}], "label": True},
        {
            "prompt": "q",
            "response": "a",
            "helpfulness": 4,
            "correctness": 4,
            "coherence": 4,
            "complexity": 1,
            "verbosity": 1,
        },
        {"message_id": "1", "parent_id": None, "text": "q", "role": "prompter", "rank": None, "lang": "en"},
        {"prompt": "q", "response": "a", "model": "m", "instruction_id_list": ["a:b"], "kwargs": "[{}]"},
    ],
)
def test_one_response_per_row_must_be_grouped_first(row):
    refused(row, r"one response per row .*Group the rows first: ds = dm.group_rows\(ds\), or --group")


def test_one_response_per_row_without_a_known_grouping():
    refused(
        {"question": "q", "answer": "a"},
        r"one response per row \(column 'answer', K = 1\).*group_rows\(ds, by='question'",
    )


def test_one_conversation_per_row():
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    refused({"conversation_id": "x", "model": "m", "conversation": chat, "turn": 1, "language": "en"}, "K = 1")


def test_steps_of_one_response():
    refused({"prompt": "q", "completions": ["step 1", "step 2"], "labels": [True, False]}, "steps of one response")


def test_scores_without_texts():
    refused({"session_id": "s", "model": "m", "judge": "j", "score": 4.0}, "scores without prompts and responses")


def test_token_ids():
    refused(
        {"query": [1, 2], "sample0": [3], "sample1": [4], "sample2": [5], "sample3": [6], "best": 1},
        "token ids: decode",
    )


@pytest.mark.parametrize(
    "extra",
    [{"image": Image()}, {"images": List(Image())}, {"image": {"bytes": Value("binary"), "path": Value("string")}}],
)
def test_multimodal_needs_the_users_word(extra):
    columns = {"question": Value("string"), "chosen": Value("string"), "rejected": Value("string"), **extra}
    told = refused(Features(columns), r"multimodal: column 'images?' holds images or sound")
    assert '--layout "prompt=question,responses=chosen|rejected,label=order"' in told


def test_an_image_block_is_refused_row_by_row():
    block = {"type": "image", "text": None}
    side = [
        {"role": "user", "content": [block]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    ]
    row = {"conversation_a": side, "conversation_b": side, "winner": "tie"}
    with pytest.raises(RowError, match="multimodal"):
        detect_layout(Dataset.from_list([row]).features).read(row)
    with pytest.raises(LayoutError, match="multimodal"):
        detect_layout(Dataset.from_list([row]))


def test_two_families_that_both_fit():
    told = refused({"prompt": "q", "chosen": "a", "rejected": "b", "responses": ["a", "b", "c"]}, "2 layouts fit")
    assert '--layout "prompt=prompt,responses=chosen|rejected,label=order"' in told
    assert '--layout "prompt=prompt,responses=responses[]"' in told


def test_two_prompts_that_both_fit():
    refused(
        {"question": "q", "query": "r", "chosen": "a", "rejected": "b"},
        "several columns could be the prompt: question, query",
    )


def test_nothing_fits():
    told = refused({"promt": "q", "chossen": "a", "rejekted": "b"}, "no known layout has these columns")
    assert "'promt' is close to 'prompt'" in told
    assert "--layout" in told
    with pytest.raises(LayoutError, match="no columns"):
        detect_layout({})


def test_plain_text_pairs_without_a_prompt():
    row = {"chosen": "The answer is four.", "rejected": "The answer is five."}
    layout = detect_layout(Dataset.from_list([row]).features)
    with pytest.raises(RowError, match="no prompt column, and the responses are plain text"):
        layout.read(row)
    for source in (row, Dataset.from_list([row])):
        with pytest.raises(LayoutError, match="no column holds the prompt"):
            detect_layout(source)
    with pytest.raises(LayoutError, match="no column holds the prompt"):
        detect_layout(Dataset.from_list([row]).features, sample=[row])


def test_splits_with_different_columns():
    pairs = Dataset.from_list([{"prompt": "q", "chosen": "a", "rejected": "b"}])
    lists = Dataset.from_list([{"prompt": "q", "responses": ["a", "b"]}])
    with pytest.raises(LayoutError, match=r"splits 'train' and 'test' have different layouts.*--split"):
        detect_layout(DatasetDict(train=pairs, test=lists))


def test_the_order_of_columns_changes_nothing():
    row = {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "score_chosen": 2.0,
        "score_rejected": 1.0,
        "system": "s",
        "id": "1",
    }
    forth = detect_layout(Dataset.from_list([row]).features)
    back = detect_layout(Dataset.from_list([dict(reversed(row.items()))]).features)
    assert forth == back
    assert isinstance(forth, Layout)


def test_a_stream_is_not_consumed():
    def rows():
        for _ in range(5):
            yield {"prompt": "q", "chosen": "a", "rejected": "b"}

    from datasets import IterableDataset

    features = Features({name: Value("string") for name in ("prompt", "chosen", "rejected")})
    known = IterableDataset.from_generator(rows, features=features)
    assert detect_layout(known).name == "pairs"
    assert len(list(known)) == 5, "what detection looked at is still there"
    unknown = IterableDataset.from_generator(rows)
    assert detect_layout(unknown).name == "pairs"
    assert len(list(unknown)) == 5


def test_a_guessed_label_is_checked_against_the_values():
    row = {"question": "q", "response_1": "a", "response_2": "b", "winner": "response_2"}
    assert detect_layout(row).read(row).annotations == [0.0, 1.0], "the label names the column"
    assert detect_layout({**row, "winner": "tie"}).read({**row, "winner": "tie"}).annotations == [0.5, 0.5]
    unclear = {**row, "winner": "gpt-4"}
    layout = detect_layout(Dataset.from_list([unclear]))
    assert layout.read(unclear).annotations is None
    assert "'winner' is not read, it does not say which response it means: 'gpt-4'" in layout.why
