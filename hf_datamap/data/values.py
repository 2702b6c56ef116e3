"""Values in odd clothes: texts, chat turns, numbers and constraints as datasets really hold them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from hf_datamap.data.example import Constraint, Message
from hf_datamap.data.paths import decoded
from hf_datamap.errors import RowError

ROLES: Final = {
    "user": "user", "human": "user", "prompter": "user", "instruction": "user", "input": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "ai": "assistant", "response": "assistant", "output": "assistant", "bing": "assistant", "bard": "assistant",
    "system": "system", "developer": "system", "context": "system",
    "tool": "tool", "function": "tool", "observation": "tool",
    "environment": "tool", "ipython": "tool", "function_call": "assistant", "tool_call": "assistant",
}  # fmt: skip

_TEXT_KEYS = ("content", "value", "text")
_TEXT_TYPES = (None, "text", "input_text", "output_text")  # not a set: a damaged type need not be hashable
_BLOCK_KEYS = ("text", "value", "content")
_MARKER = re.compile(r"(?:^|\n\n) *(Human|Assistant|System):")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?:/\s*\d+\s*)?")


def seen(value: Any, limit: int = 80) -> str:
    """Return a value as it may stand in an error: one line, no control characters, shortened."""
    shown = (
        ascii(value)
        if isinstance(value, (bytes, bytearray))
        else repr(value[:limit] if isinstance(value, str) else value)
    )
    shown = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in shown[: limit * 2])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _fail(reason: str, value: Any = None) -> NoReturn:
    raise RowError(reason, "" if value is None else seen(value))


def whole(text: str) -> str | None:
    """Return a text whose surrogate pairs are joined, or None when a lone surrogate makes it unreadable."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            return None
    return text


def text_of(value: Any, where: str) -> str | None:
    """Return the text of a cell: a string, a list of content blocks, or a struct with one text; None for null.

    Raises:
        RowError: the value holds an image, audio or a video, or is no text at all.
    """
    if value is None or isinstance(value, str):
        return None if value is None else whole(value)
    if isinstance(value, Mapping):
        if (kind := value.get("type")) not in _TEXT_TYPES:
            _fail(f"{where} is multimodal: it holds a block of type {seen(kind)}")
        for key in _BLOCK_KEYS:
            if key in value and (value[key] is None or isinstance(value[key], (str, list))):
                return text_of(value[key], where)
        _fail(f"{where} is a struct without text", dict(value))
    if isinstance(value, (list, tuple)):
        texts = [text_of(block, where) for block in value]
        return "\n".join(text for text in texts if text is not None) if any(t is not None for t in texts) else None
    if isinstance(value, (bool, int, float)):
        return str(value)
    _fail(f"{where} is not text", value)


def _rows_of(value: Any) -> Any:
    """Return messages that are a struct of lists (``{"role": [...], "content": [...]}``, the legacy way) as a list."""
    if not isinstance(value, Mapping) or not all(isinstance(column, (list, tuple)) for column in value.values()):
        return value
    if not ("role" in value or "from" in value) or len({len(column) for column in value.values()}) != 1:
        return value
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def is_message(value: Any) -> bool:
    """Tell whether a value is one chat message (role and content, or from and value)."""
    return isinstance(value, Mapping) and (
        ("role" in value and any(key in value for key in _TEXT_KEYS)) or ("from" in value and "value" in value)
    )


def message_of(value: Any, where: str) -> Message:
    """Return one chat message under its standard role.

    Raises:
        RowError: not a message, an unknown role, or content that is not text.
    """
    if not is_message(value):
        _fail(f"{where} holds something that is not a chat message", value)
    speaker = value["role"] if "role" in value else value["from"]
    role = ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        _fail(f"{where} holds a message of unknown role", speaker)
    key = next(key for key in _TEXT_KEYS if key in value)
    text = text_of(value[key], where)
    if text is None and value[key] is not None:
        _fail(f"{where} holds text with lone surrogates", value[key])
    return Message(role=role, content=text or "")


def transcript(text: str) -> list[Message] | None:
    r"""Return the turns of a ``\n\nHuman: ... \n\nAssistant: ...`` transcript, or None when the text is not one."""
    if not text.lstrip().startswith(("Human:", "System:")):
        return None
    pieces = _MARKER.split(text.lstrip())
    if "Assistant" not in pieces[1::2]:
        return None
    roles = {"Human": "user", "Assistant": "assistant", "System": "system"}
    return [
        Message(role=roles[speaker], content=content.strip())
        for speaker, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def turns_of(value: Any, where: str) -> str | list[Message] | None:
    """Return a cell as plain text or as chat messages, whichever it is; None for null or an empty list.

    Raises:
        RowError: neither text nor messages, or multimodal.
    """
    if isinstance(value, str):
        if value.startswith("[{"):
            inner = decoded(value)
            if isinstance(inner, list) and all(is_message(item) for item in inner):
                return [message_of(item, where) for item in inner]
        return whole(value)
    if value is None:
        return None
    value = _rows_of(value)
    if is_message(value):
        return [message_of(value, where)]
    if isinstance(value, (list, tuple)) and value and any(is_message(item) for item in value):
        return [message_of(item, where) for item in value]
    return text_of(value, where) if value != [] else None


def number(value: Any) -> float | None:
    """Return a finite number, also from strings such as ``"4"`` or ``"7/10"``; None for anything else ("N/A", NaN)."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        value = float(match[1]) if match else None
    if isinstance(value, (list, tuple)):
        return mean([number(item) for item in value])
    if value is None or isinstance(value, (Mapping, bytes)):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those values that are numbers, None when none is."""
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None


def parse_constraints(ids: Any, kwargs: Any) -> tuple[Constraint, ...]:
    """Return the verifiable constraints of a row; null arguments (which Arrow structs are full of) are dropped.

    Args:
        ids: a list of instruction ids, or its JSON. A list of such lists gives the constraints of each turn.
        kwargs: one struct of arguments per id (or its JSON), or the JSON of the whole list; null for none.

    Raises:
        RowError: ids and arguments do not pair up, or are of the wrong shape.
    """
    ids, kwargs = decoded(ids), decoded(kwargs)
    if ids is None:
        return ()
    if isinstance(ids, (list, tuple)) and ids and all(isinstance(turn, (list, tuple)) for turn in ids):
        return _constraints_per_turn(ids, kwargs)
    if not isinstance(ids, (list, tuple)) or not all(isinstance(name, str) and name for name in ids):
        _fail("instruction ids are not a list of strings", ids)
    arguments = [{}] * len(ids) if kwargs is None else kwargs
    if not isinstance(arguments, (list, tuple)) or len(arguments) != len(ids):
        _fail(f"{len(ids)} instruction ids, but kwargs are not a list of that length", kwargs)
    found = []
    for name, cell in zip(ids, arguments, strict=True):
        options = decoded(cell)
        if options is not None and not isinstance(options, Mapping):
            _fail(f"kwargs of {seen(name)} are not a mapping", options)
        kept = {str(key): value for key, value in (options or {}).items() if value is not None}
        found.append(Constraint(id=name, kwargs=kept))
    return tuple(found)


def _constraints_per_turn(ids: Sequence[Any], kwargs: Any) -> tuple[Constraint, ...]:
    arguments = [None] * len(ids) if kwargs is None else kwargs
    if not isinstance(arguments, (list, tuple)) or len(arguments) != len(ids):
        _fail(f"instruction ids of {len(ids)} turns, but kwargs are not a list of that length", kwargs)
    return tuple(
        replace(constraint, turn=turn)
        for turn, (ids_of_turn, kwargs_of_turn) in enumerate(zip(ids, arguments, strict=True), 1)
        for constraint in parse_constraints(ids_of_turn, kwargs_of_turn)
    )
