"""Replies: the answer apart from the thoughts, in every form in which servers hand them over."""

from __future__ import annotations

import pytest

from hf_datamap.engine.reply import answer_of, read_completion, split_thoughts
from hf_datamap.errors import Unanswered

FORMS = {
    "think": "<think>\nhm, fruit\n</think>\n\nan apple",
    "think, opened in the prompt": "hm, fruit\n</think>\n\nan apple",
    "thinking": "<thinking>hm, fruit</thinking>an apple",
    "capitals": "<Think>hm, fruit</THINK> an apple",
    "namespace": "<seed:think>hm, fruit</seed:think>an apple",
    "another namespace": "<mm:think>hm, fruit</mm:think>an apple",
    "brackets": "[THINK]hm, fruit[/THINK]an apple",
    "brackets, opened in the prompt": "hm, fruit[/THINK]an apple",
    "reasoning": "<reasoning>\nhm, fruit\n</reasoning>\n<answer>\nan apple\n</answer>",
    "thought": "<thought>hm, fruit</thought>an apple",
    "triangles": "◁think▷hm, fruit◁/think▷an apple",
    "begin_of_thought": "<|begin_of_thought|>hm, fruit<|end_of_thought|>"
    "<|begin_of_solution|>an apple<|end_of_solution|>",
    "START_THINKING": "<|START_THINKING|>hm, fruit<|END_THINKING|><|START_RESPONSE|>an apple<|END_RESPONSE|>",
    "inner": "<|inner_prefix|>hm, fruit<|inner_suffix|>an apple",
    "words": "Here is my thought process:\nhm, fruit\nHere is my response:\nan apple",
    "harmony": "<|channel|>analysis<|message|>hm, fruit<|end|>"
    "<|start|>assistant<|channel|>final<|message|>an apple<|return|>",
    "harmony, from the start": "<|start|>assistant<|channel|>analysis<|message|>hm, fruit<|end|>"
    "<|start|>assistant<|channel|>final <|constrain|>json<|message|>an apple",
    "harmony without its tokens": "analysishm, fruitassistantfinalan apple",
    "channel": "<|channel>thought\nhm, fruit<channel|>an apple",
}


@pytest.mark.parametrize("form", FORMS)
def test_thoughts_in_the_text_are_no_answer(form):
    assert split_thoughts(FORMS[form]) == ("hm, fruit", "an apple")


@pytest.mark.parametrize(
    "text",
    [
        "<think>hm",
        "[THINK]hm",
        "<seed:think>hm",
        "<reasoning>\nhm",
        "<|channel|>analysis<|message|>hm",
        "<|channel|>analysis<|message|>hm<|end|>",
        "<|START_THINKING|>hm",
    ],
)
def test_unfinished_thoughts_leave_no_answer(text):
    assert split_thoughts(text) == ("hm", "")


@pytest.mark.parametrize(
    "text",
    [
        "an apple",
        "I think <b>so</b>.",
        "The tag `<think>` opens a thought, `</think>` ends it.",
        'It ends with "</think>" in most models.',
        "```\nhm\n</think>\n```",
        "```xml\n<think>\nhm\n</think>\n```",
        "Use this:\n\n```\n<think>\nhm\n</think>\n```\n\nand nothing else",
        "analysis of the market, and the final word",
        "[THINKING] about it",
        "First the reasoning:\n<reasoning>a</reasoning>",
    ],
)
def test_an_answer_that_talks_about_thoughts_is_left_alone(text):
    assert split_thoughts(text) == ("", text)


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", " <|eot_id|>\n", "<end_of_turn>", "<|end|><|endoftext|>"])
def test_control_tokens_at_the_end_are_no_answer(end):
    assert split_thoughts(f"an apple{end}") == ("", "an apple")
    assert split_thoughts(f"<think>hm</think>an apple{end}") == ("hm", "an apple")
    assert split_thoughts(f"`{end.strip()}` ends a turn.") == ("", f"`{end.strip()}` ends a turn.")


def test_thoughts_between_and_again():
    assert split_thoughts("<think>a</think><think>b</think>an apple") == ("a\nb", "an apple")
    assert split_thoughts("Sure.\n<think>a</think>\nan apple") == ("a", "Sure.\nan apple")
    assert split_thoughts("Sure.\n<think>a") == ("a", "")


@pytest.mark.parametrize(
    ("message", "thoughts"),
    [
        ({"content": "an apple", "reasoning_content": "hm"}, "hm"),
        ({"content": "an apple", "reasoning": "hm"}, "hm"),
        ({"content": "an apple", "reasoning": "hm", "reasoning_content": "hm"}, "hm"),
        ({"content": "an apple", "thinking": "hm"}, "hm"),
        ({"content": "an apple", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "hm"),
        ({"content": "an apple", "provider_specific_fields": {"reasoning_content": "hm"}}, "hm"),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "an apple"}]}, "hm"),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "an apple"}]},
            "hm",
        ),
        ({"content": [{"type": "output_text", "text": "an "}, {"type": "text", "text": "apple"}]}, ""),
        ({"content": ["an apple"]}, ""),
        ({"content": {"type": "text", "text": "an apple"}}, ""),
        ({"content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "an apple"}]}, ""),
    ],
)
def test_thoughts_in_fields_and_parts(message, thoughts):
    reply = answer_of(message)
    assert (reply.text, reply.thoughts, reply.problem) == ("an apple", thoughts, "")


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({"message": {"content": None, "reasoning_content": "hm"}}, "thoughts only"),
        ({"message": {"content": "<think>hm"}, "finish_reason": "length"}, "truncated"),
        ({"message": {"content": ""}}, "the reply is empty"),
        ({"message": None}, "the reply is empty"),
        ({"message": {"content": None, "refusal": "I cannot"}}, "refused: I cannot"),
        ({"message": {"content": [{"type": "refusal", "refusal": "I cannot"}]}}, "refused: I cannot"),
        ({"message": {"content": "an a"}, "finish_reason": "content_filter"}, "refused"),
    ],
)
def test_why_there_is_no_answer(choice, problem):
    assert read_completion({"choices": [choice]}).problem.startswith(problem)


@pytest.mark.parametrize("completion", [None, [], {}, {"choices": None}, {"choices": []}, {"choices": ["a"]}])
def test_a_reply_without_choices(completion):
    with pytest.raises(Unanswered, match="no choices"):
        read_completion(completion)


def test_texts_of_completions_and_tokens():
    reply = read_completion(
        {"choices": [{"text": " an apple", "finish_reason": "length", "logprobs": {"content": [{"token": "a"}, 3]}}]}
    )
    assert (reply.text, reply.content, reply.finish) == ("an apple", " an apple", "length")
    assert list(reply.tokens) == [{"token": "a"}]


HOSTILE = [
    "<think>",
    "</think>",
    "[THINK]x[/THINK]",
    "<|channel|>a<|message|>",
    "x\n<think>a</think>",
    "```\n<think>\n",
]


@pytest.mark.timeout(60)  # seconds; quadratic reading would take an hour
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_is_read_in_linear_time(piece):
    thoughts, answer = split_thoughts("x" * 100 + piece * 100_000)
    assert len(thoughts) + len(answer) <= 100 + len(piece) * 100_000
    split_thoughts(piece * 100_000)
