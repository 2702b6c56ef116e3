"""Conversations: where the prompt ends and the responses begin when whole dialogues stand side by side.

One rule (ours): the prompt is what all sides share, cut before the last assistant turn at which every side is about to
answer. What follows is the response: one turn as it is; more turns (sides that went different ways) as one text in
which later turns have a heading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hf_datamap.data.decode import decoded, records
from hf_datamap.data.example import Message
from hf_datamap.data.messages import is_message, message_of, text_of, turns_of
from hf_datamap.data.transcripts import transcript
from hf_datamap.data.values import seen, whole
from hf_datamap.errors import RowError

_HEADINGS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
_ASKED = ("input", "instruction", "question", "prompt", "user", "human", "query")
_ANSWERED = ("output", "response", "answer", "completion", "assistant", "gpt", "bot", "reply")


class Dialogue(NamedTuple):
    """A prompt and its responses, as parted from whole conversations; one is made of every row."""

    prompt: tuple[Message, ...]
    responses: list[str | None]
    reasoning: tuple[str | None, ...] = ()


def prompt_messages(cells: Sequence[Any], preamble: str = "", *, images: bool = False) -> list[Message]:
    """Return the messages of a prompt given as text, transcript, chat messages, or several texts to join.

    Args:
        cells: one cell, or several texts that together make the prompt.
        preamble: fixed words in front.
        images: whether messages may hold images.

    Raises:
        RowError: multimodal, not text, or text with lone surrogates.
    """
    if len(cells) == 1:
        cell = cells[0]
        turns = (
            whole(cell) if type(cell) is str and cell[:1] not in "[{" else turns_of(cell, "the prompt", images=images)
        )
        if isinstance(turns, list):
            return turns
        if turns is None and isinstance(cell, str):
            raise RowError("the prompt holds text with lone surrogates", seen(cell))
        if isinstance(cell, (list, tuple)) and len(cell) > 1 and all(isinstance(turn, str) for turn in cell):
            return _alternating(list(cell))
        if turns is not None and not preamble and (speech := transcript(turns)):
            if speech[-1] == {"role": "assistant", "content": ""}:
                speech.pop()
            return speech
        parts = [turns]
    else:
        return _joined_cells(cells, preamble, images=images)
    texts = [part for part in parts if part and part.strip()]
    if not texts:
        return []
    return [Message(role="user", content="\n\n".join([preamble, *texts] if preamble else texts))]


def _joined_cells(cells: Sequence[Any], preamble: str, *, images: bool) -> list[Message]:
    """Return the messages of a prompt in several cells: texts are joined, chat messages stay turns of their own.

    A part that another part repeats (a context inside the question) is said once.
    """
    read = [turns_of(cell, "the prompt", images=images) for cell in cells]
    texts = [part.strip() for part in read if isinstance(part, str) and part.strip()]
    texts = [part for place, part in enumerate(texts) if not _said_elsewhere(part, place, texts)]
    turns = [turn for part in read if isinstance(part, list) for turn in part]
    if not texts:
        return turns
    text = "\n\n".join([preamble, *texts] if preamble else texts)
    return [*turns, Message(role="user", content=text)]


def _said_elsewhere(part: str, place: int, texts: Sequence[str]) -> bool:
    return any(
        part == other if at < place else len(part) > 20 and part in other and part != other
        for at, other in enumerate(texts)
        if at != place
    )


def _alternating(turns: list[str]) -> list[Message]:
    """Return a list of texts as turns: user and assistant in turn where the user has the last word, else all user's."""
    both = len(turns) % 2 == 1
    return [
        Message(role="assistant" if both and place % 2 else "user", content=whole(turn) or "")
        for place, turn in enumerate(turns)
    ]


def earlier_turns(cells: Sequence[Any]) -> list[Message]:  # noqa: PLR0911 - one return per spelling
    """Return the turns before the prompt.

    Args:
        cells: one cell of [question, answer] pairs, of mappings such as ``{"input": ..., "output": ...}``, of
            messages or of alternating texts; or two cells, a list of questions and a list of their answers.

    Raises:
        RowError: none of these.
    """
    if len(cells) == 2:
        asked, answered = (decoded(cell) or [] for cell in cells)
        if not isinstance(asked, (list, tuple)) or not isinstance(answered, (list, tuple)):
            raise RowError("earlier turns are not two lists", seen(list(cells)))
        return _pairs(zip(asked, answered, strict=False))  # the last question may be open
    turns = records(decoded(cells[0]))
    if turns is None or turns in ("", []):
        return []
    if isinstance(turns, str):
        return transcript(turns) or [Message(role="user", content=whole(turns) or "")]
    if not isinstance(turns, (list, tuple)):
        raise RowError("the earlier turns are no list", seen(turns))
    items = [decoded(turn) for turn in turns if turn is not None]
    if all(map(is_message, items)):
        return [message_of(item, "an earlier turn") for item in items]
    if all(isinstance(item, (list, tuple)) and len(item) == 2 for item in items):
        return _pairs(items)
    if all(isinstance(item, Mapping) for item in items):
        return _pairs([(_first(item, _ASKED), _first(item, _ANSWERED)) for item in items])
    if all(isinstance(item, str) for item in items):
        return [
            Message(role="assistant" if place % 2 else "user", content=whole(item) or "")
            for place, item in enumerate(items)
        ]
    raise RowError("the earlier turns are neither pairs nor messages", seen(turns))


def _first(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _pairs(pairs: Any) -> list[Message]:
    turns: list[Message] = []
    for question, answer in pairs:
        for role, cell in (("user", question), ("assistant", answer)):
            text = text_of(cell, "an earlier turn")
            if text is not None and text.strip():
                turns.append(Message(role=role, content=text))
    return turns


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


def until_turn(side: list[Message], turn: int) -> list[Message]:
    """Return a conversation up to the assistant's n-th turn, on which the verdict was given."""
    answers = [place for place, message in enumerate(side) if message["role"] == "assistant"]
    return side[: answers[turn - 1] + 1] if 0 < turn <= len(answers) else side


def part_ways(given: list[Message], sides: Sequence[str | list[Message] | None]) -> Dialogue:
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
        if side and side[-1]["role"] not in {"assistant", "tool"}:
            raise RowError("a conversation does not end with an assistant turn", seen(side[-1]["role"]))
    cut = _cut(turns)
    if cut is None:
        raise RowError("the conversations share no prompt", seen(turns[0][0]["content"]) if turns and turns[0] else "")
    prompt = _joined(given, turns[0][:cut])
    if not asks_something(prompt):
        raise RowError("the prompt is empty")
    tails = iter([side[cut:] for side in turns])
    ends = [None if side is None else next(tails) for side in sides]
    texts = [None if end is None else end[0]["content"] if len(end) == 1 else _tail_text(end) for end in ends]
    if all(end is None or (len(end) == 1 and len(end[0]) == 2) for end in ends):
        return Dialogue(tuple(prompt), texts)
    if any("images" in message for end in ends if end for message in end):
        raise RowError("a response is multimodal: it holds an image")
    thoughts = tuple(None if not end else end[0].get("reasoning") for end in ends)
    return Dialogue(tuple(prompt), texts, thoughts if any(thoughts) else ())


def asks_something(prompt: Sequence[Message]) -> bool:
    """Tell whether a message of a prompt, the system's aside, has a text or an image."""
    for message in prompt:  # a loop: it runs for every row, and a generator takes three times as long
        if message["role"] != "system" and (message["content"].strip() or "images" in message):
            return True
    return False


def _same(first: Message, second: Message) -> bool:
    if first == second:
        return True
    return first["role"] == second["role"] and first["content"].strip() == second["content"].strip()


def _joined(given: list[Message], shared: list[Message]) -> list[Message]:
    """Return the prompt of a prompt column and of what the conversations share, which may repeat it."""
    asked = [message for message in given if message["role"] != "system"]
    repeated = [message for message in shared if message["role"] != "system"]
    starts_over = (
        bool(repeated)
        and repeated[0]["role"] == "user"
        and (len(asked) < 2 or (len(repeated) >= len(asked) and all(map(_same, asked, repeated))))
    )
    if starts_over:
        system = [message for message in given if message["role"] == "system"]
        extra = [message for message in system if not any(_same(message, other) for other in shared)]
        return extra + shared
    overlap = next(
        (n for n in range(min(len(asked), len(repeated)), 0, -1) if all(map(_same, asked[-n:], repeated[:n]))), 0
    )
    return given + (repeated[overlap:] if overlap else shared)


def _answered(side: str | list[Message]) -> list[Message]:
    """Return a side as messages; a last turn under the role ``system`` (HuggingFaceH4/orca_dpo_pairs) is the answer."""
    if isinstance(side, str):
        return [Message(role="assistant", content=side)]
    if side and side[-1]["role"] == "system" and (len(side) == 1 or side[-2]["role"] == "user"):
        return [*side[:-1], Message(role="assistant", content=side[-1]["content"])]
    return side


def _cut(turns: Sequence[Sequence[Message]]) -> int | None:
    """Return the last place, within what all sides share, at which every side has an assistant turn."""
    cut = None
    for place in range(min((len(side) for side in turns), default=0)):
        if all(side[place]["role"] == "assistant" for side in turns):
            cut = place
        if any(side[place] != turns[0][place] for side in turns):
            break
    return cut


def _tail_text(tail: Sequence[Message]) -> str:
    later = [f"{_HEADINGS[message['role']]}: {message['content']}" for message in tail[1:]]
    return "\n\n".join([tail[0]["content"], *later])
