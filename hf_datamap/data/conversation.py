"""Conversations: where the prompt ends and the responses begin when whole dialogues stand side by side.

One rule (ours): the prompt is what all sides share, cut before the last assistant turn at which every side is about to
answer. What follows is the response: one turn as it is; more turns (sides that went different ways) as one text in
which later turns have a heading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_datamap.data.example import Message
from hf_datamap.data.paths import decoded
from hf_datamap.data.values import seen, text_of, transcript, turns_of, whole
from hf_datamap.errors import RowError

_HEADINGS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


def prompt_messages(cells: Sequence[Any], preamble: str = "") -> list[Message]:
    """Return the messages of a prompt given as text, transcript, chat messages, or several texts to join.

    Raises:
        RowError: multimodal, not text, or text with lone surrogates.
    """
    if len(cells) == 1:
        cell = cells[0]
        turns = whole(cell) if type(cell) is str and not cell.startswith("[{") else turns_of(cell, "the prompt")
        if isinstance(turns, list):
            return turns
        if turns is None and isinstance(cell, str):
            raise RowError("the prompt holds text with lone surrogates", seen(cell))
        if turns is not None and not preamble and (found := transcript(turns)):
            if found[-1] == {"role": "assistant", "content": ""}:
                found.pop()
            return found
        parts = [turns]
    else:
        parts = [text_of(cell, "the prompt") for cell in cells]
    told = [part for part in parts if part and part.strip()]
    if not told:
        return []
    return [Message(role="user", content="\n\n".join([preamble, *told] if preamble else told))]


def interleaved(prompt: Any, cells: Sequence[Any]) -> list[list[Message] | None]:
    """Return one conversation per response from a list of user turns and lists of assistant turns.

    Raises:
        RowError: not lists, or user and assistant turns that do not pair up.
    """
    asked = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(asked, (list, tuple)) or not asked:
        raise RowError("the prompt is not a list of turns", seen(prompt))
    questions = [text_of(turn, "the prompt") for turn in asked]
    sides: list[list[Message] | None] = []
    for cell in cells:
        answered = decoded(cell)
        answered = [answered] if isinstance(answered, str) else answered
        if answered is None or (isinstance(answered, (list, tuple)) and all(turn is None for turn in answered)):
            sides.append(None)
            continue
        if not isinstance(answered, (list, tuple)) or len(answered) != len(questions):
            raise RowError("user and assistant turns do not pair up", seen(answered))
        side: list[Message] = []
        for question, turn in zip(questions, answered, strict=True):
            side.append(Message(role="user", content=question or ""))
            side.append(Message(role="assistant", content=text_of(turn, "a response") or ""))
        sides.append(side)
    return sides


def part_ways(
    given: list[Message], sides: Sequence[str | list[Message] | None]
) -> tuple[tuple[Message, ...], list[str | None]]:
    """Return the prompt and the responses of conversations that share a beginning.

    Args:
        given: the messages of the prompt column and the system column, if any. Where the conversations hold the
            prompt themselves, they are the fuller account and only a system message is taken from here.
        sides: one conversation per response; None where a row has none; a text is a single assistant turn.

    Raises:
        RowError: no prompt is shared, or a side does not end with an assistant turn.
    """
    turns = [_answered(side) for side in sides if side is not None]
    for side in turns:
        if side and side[-1]["role"] != "assistant":
            raise RowError("a conversation does not end with an assistant turn", seen(side[-1]["role"]))
    cut = _cut(turns)
    if cut is None:
        raise RowError("the conversations share no prompt", seen(turns[0][0]["content"]) if turns and turns[0] else "")
    prompt = _joined(given, turns[0][:cut])
    if not any(message["role"] != "system" and message["content"].strip() for message in prompt):
        raise RowError("the prompt is empty")
    texts = iter([_told(side[cut:]) for side in turns])
    return tuple(prompt), [None if side is None else next(texts) for side in sides]


def _joined(given: list[Message], shared: list[Message]) -> list[Message]:
    """Return the prompt of a prompt column and of what the conversations share, which may repeat it."""
    asked = [message for message in given if message["role"] != "system"]
    told = [message for message in shared if message["role"] != "system"]
    whole_story = bool(told) and told[0]["role"] == "user" and (len(asked) < 2 or told[: len(asked)] == asked)
    if not whole_story:
        return given + shared
    return shared if len(told) < len(shared) else [m for m in given if m["role"] == "system"] + shared


def _answered(side: str | list[Message]) -> list[Message]:
    """Return a side as messages; a last turn under the role ``system`` (HuggingFaceH4/orca_dpo_pairs) is the answer."""
    if isinstance(side, str):
        return [Message(role="assistant", content=side)]
    if side and side[-1]["role"] == "system" and (len(side) == 1 or side[-2]["role"] == "user"):
        return [*side[:-1], Message(role="assistant", content=side[-1]["content"])]
    return side


def _cut(turns: Sequence[Sequence[Message]]) -> int | None:
    """Return the last place, within what all sides share, at which every side has an assistant turn."""
    found = None
    for place in range(min((len(side) for side in turns), default=0)):
        if all(side[place]["role"] == "assistant" for side in turns):
            found = place
        if any(side[place] != turns[0][place] for side in turns):
            break
    return found


def _told(tail: Sequence[Message]) -> str:
    told = [f"{_HEADINGS[message['role']]}: {message['content']}" for message in tail[1:]]
    return "\n\n".join([tail[0]["content"], *told])
