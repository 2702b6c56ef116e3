"""Chat messages in all their spellings, read into one: a role, a text, images beside it, reasoning apart.

Tool calls and tool results are part of a message's text, in one canonical form (``get_weather({"city": "Paris"})``), so
that judges, hashes, audits and pages all see the same. What a model thought before it answered
(``reasoning_content``, ``thinking``) is kept beside the text: it is no part of the response that is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from hf_datamap.data.decode import decoded, records
from hf_datamap.data.example import Image, Message
from hf_datamap.data.values import seen, whole
from hf_datamap.errors import RowError

ROLES: Final = {
    "user": "user", "human": "user", "prompter": "user", "instruction": "user", "input": "user", "customer": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "ai": "assistant", "response": "assistant", "output": "assistant", "bing": "assistant", "bard": "assistant",
    "chatbot": "assistant", "agent": "assistant", "gpt-4": "assistant", "gpt4": "assistant",
    "system": "system", "developer": "system", "context": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "tool_response": "tool", "tool_result": "tool",
    "function_response": "tool", "tool_output": "tool", "function_output": "tool", "environment": "tool",
    "ipython": "tool",
    "function_call": "assistant", "tool_call": "assistant",
}  # fmt: skip

ROLE_KEYS: Final = ("role", "from")
_OTHER_ROLE_KEYS: Final = ("speaker", "sender", "author")  # only where they hold a known role
TEXT_KEYS: Final = ("content", "value", "text", "message", "parts", "body")
_CONVERSATION_KEYS: Final = ("messages", "conversation", "contents")
_CALL_KEYS: Final = ("tool_calls", "function_call")
_REASONING_KEYS: Final = ("reasoning_content", "reasoning", "thinking", "thought")

_ENCODED_MESSAGE = re.compile(r"\s*(?:array\()?\[?\s*\{\s*['\"](?:role|from|content|value)['\"]\s*:")
_ENCODED_BLOCKS = ('[{"type"', "[{'type'")
_BLOCK_TEXT_KEYS = ("text", "value", "content", "output_text", "input_text")
_TEXT_TYPES = (None, "text", "input_text", "output_text", "refusal")
_IMAGE_TYPES = ("image", "image_url", "input_image", "img")
_IMAGE_KEYS = ("image", "image_url", "url", "path", "source", "data", "bytes", "inline_data", "inlineData")


def _fail(reason: str, value: Any = None) -> NoReturn:
    raise RowError(reason, "" if value is None else seen(value))


def role_of(value: Mapping[str, Any]) -> Any:
    """Return who speaks in a message, as it is written there; None where nobody is named."""
    for key in ROLE_KEYS:
        if key in value and value[key] is not None:
            return value[key]
    for key in _OTHER_ROLE_KEYS:
        speaker = value.get(key)
        if isinstance(speaker, str) and speaker.strip().lower() in ROLES:
            return speaker
    return None


def _role(speaker: Any) -> str | None:
    return ROLES.get(speaker) if type(speaker) is str else None


def is_message(value: Any) -> bool:
    """Tell whether a value is one chat message: who speaks, and a text, tool calls or reasoning."""
    if not isinstance(value, Mapping):
        return False
    role = role_of(value)
    if role is None or isinstance(role, (Mapping, list, tuple)):
        return False
    return any(key in value for key in (*TEXT_KEYS, *_CALL_KEYS, *_REASONING_KEYS))


def message_of(value: Any, where: str, *, images: bool = False) -> Message:
    """Return one chat message under its standard role.

    Args:
        value: the message as it ships.
        where: what it belongs to, for errors.
        images: whether it may hold images.

    Raises:
        RowError: not a message, an unknown role, content that is not text, or images where none may be.
    """
    if type(value) is dict and len(value) == 2:  # nearly all messages: a known role and a text
        role, content = _role(value.get("role", value.get("from"))), value.get("content", value.get("value"))
        text = whole(content) if role is not None and type(content) is str else None
        if text is not None and role is not None and not text.startswith(_ENCODED_BLOCKS):
            return {"role": role, "content": text}
    if not is_message(value):
        _fail(f"{where} holds something that is not a chat message", value)
    speaker = role_of(value)
    role = ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        _fail(f"{where} holds a message of unknown role", speaker)
    key = next((key for key in TEXT_KEYS if value.get(key) is not None), None)
    content = None if key is None else value[key]
    body = _Body(where, images=images)
    if isinstance(content, str) and content.startswith(_ENCODED_BLOCKS):
        content = decoded(content)
    if content is not None:
        body.add(content)
    for calls in (value.get(name) for name in _CALL_KEYS):
        body.add_calls(calls)
    message = Message(role=role, content="\n".join(body.parts))
    if body.images:
        message["images"] = tuple(body.images)
    thoughts = [value[name] for name in _REASONING_KEYS if isinstance(value.get(name), str) and value[name].strip()]
    if thoughts or body.thoughts:
        message["reasoning"] = "\n".join([*thoughts, *body.thoughts])
    return message


def turns_of(  # noqa: PLR0911 - one return per form
    value: Any, where: str, *, images: bool = False
) -> str | list[Message] | None:
    """Return a cell as plain text or as chat messages, whichever it is; None for null or an empty list.

    Raises:
        RowError: neither text nor messages, or multimodal.
    """
    if isinstance(value, str):
        inner = encoded_messages(value)
        return whole(value) if inner is None else [message_of(item, where, images=images) for item in inner]
    if value is None:
        return None
    if type(value) is list and value and type(value[0]) is dict and ("role" in value[0] or "from" in value[0]):
        return [message_of(item, where, images=images) for item in value]
    value = records(value)
    if is_message(value):
        return [message_of(value, where, images=images)]
    if isinstance(value, Mapping):
        # {"messages": [...]}: OpenAI's fine-tuning files put the conversation into an object
        inner_list = next((value[key] for key in _CONVERSATION_KEYS if value.get(key)), None)
        if isinstance(inner_list, (list, tuple)) and all(map(is_message, inner_list)):
            return [message_of(item, where, images=images) for item in inner_list]
    if isinstance(value, (list, tuple)) and value:
        items = [decoded(item) if isinstance(item, str) and item[:1] == "{" else item for item in value]
        if any(map(is_message, items)):
            return [message_of(item, where, images=images) for item in items]
    return text_of(value, where) if value != [] else None


def encoded_messages(text: str) -> list[Any] | None:
    """Return the messages that a text encodes (JSON, or a Python or NumPy ``repr``); None when it is plain text."""
    head = text[:200].lstrip()
    if head[:1] not in {"[", "{", "a"} or not any(key in head for key in ('"', "'")):
        return None
    inner = decoded(text)
    if isinstance(inner, str) and _ENCODED_MESSAGE.match(head):
        # Taken for plain text, the braces and quotes would be judged.
        _fail("a text begins like encoded messages (a Python or JSON repr), but cannot be decoded", text)
    if isinstance(inner, Mapping):
        inner = next((inner[key] for key in _CONVERSATION_KEYS if isinstance(inner.get(key), list)), records(inner))
    items = [inner] if isinstance(inner, Mapping) else inner
    if not isinstance(items, list) or not items or not all(map(is_message, items)):
        return None
    if not all(isinstance(role_of(item), str) and role_of(item).strip().lower() in ROLES for item in items):
        return None
    return [_json_decoded(item) for item in items] if all(map(_is_json_encoded, items)) else items


def _is_json_encoded(message: Mapping[str, Any]) -> bool:
    """Tell whether the text of a message is JSON once more, as ``to_csv`` writes messages of the ``Json`` feature."""
    content = message.get("content")
    return isinstance(content, str) and content[:1] in {'"', "["} and content[-1:] in {'"', "]"}


def _json_decoded(message: Mapping[str, Any]) -> dict[str, Any]:
    content = str(message["content"])
    try:
        inner = json.loads(content)
    except (ValueError, RecursionError):
        inner = content
    return {**message, "content": inner if isinstance(inner, (str, list)) else content}


def text_of(value: Any, where: str) -> str | None:
    """Return the text of a cell: a string, a list of content blocks, or a struct with one text; None for null.

    Raises:
        RowError: the value holds an image, audio or a video, or is no text at all.
    """
    if value is None or isinstance(value, str):
        return None if value is None else whole(value)
    body = _Body(where, images=False)
    body.add(value)
    return "\n".join(body.parts) if body.parts else None


def image_of(value: Any) -> Image | None:
    """Return a cell that holds an image (bytes and path, a path, a URL, a block, a decoded picture) as an `Image`."""
    if isinstance(value, (bytes, bytearray)):
        return Image(data=bytes(value))
    if isinstance(value, str):
        return _image_from_text(value)
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), (bytes, bytearray)):
            return Image(data=bytes(value["bytes"]), path=value.get("path"))
        for key in _IMAGE_KEYS:
            if value.get(key) is not None and (image := image_of(value[key])) is not None:
                return image
        return None
    return _image_from_picture(value) if type(value).__module__.partition(".")[0] == "PIL" else None


def _image_from_text(text: str) -> Image | None:
    if not text.strip():
        return None
    if text.startswith("data:") and ";base64," in text[:100]:
        import base64
        import binascii

        try:
            return Image(data=base64.b64decode(text.partition(",")[2], validate=True))
        except binascii.Error:
            return None
    return Image(path=text)


def _image_from_picture(picture: Any) -> Image:
    """Return a decoded picture as its file's bytes: the original file where it is still known, PNG otherwise."""
    import io

    path = getattr(picture, "filename", "") or None
    buffer = io.BytesIO()
    source = getattr(picture, "fp", None)
    if source is not None and hasattr(source, "getvalue"):
        return Image(data=source.getvalue(), path=path)
    picture.save(buffer, format="PNG")
    return Image(data=buffer.getvalue(), path=path)


class _Body:
    """What the content of a message adds up to: texts in order, images, thoughts."""

    def __init__(self, where: str, *, images: bool) -> None:
        self.where = where
        self.keep_images = images
        self.parts: list[str] = []
        self.images: list[Image] = []
        self.thoughts: list[str] = []

    def add(self, value: Any) -> None:
        """Add a content: a text, a block, or a list of them."""
        if value is None:
            return
        if isinstance(value, str):
            text = whole(value)
            if text is None:
                _fail(f"{self.where} holds text with lone surrogates", value)
            self.parts.append(text)
        elif isinstance(value, Mapping):
            self._add_block(value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                block = decoded(item) if isinstance(item, str) and item.startswith('{"type"') else item
                self.add(block)
        elif isinstance(value, (bool, int, float)) or hasattr(value, "isoformat") or type(value).__name__ == "Decimal":
            self.parts.append(str(value))
        else:
            _fail(f"{self.where} is not text", value)

    def _add_block(self, block: Mapping[str, Any]) -> None:
        kind = block.get("type")
        if kind in ("tool_use", "tool_call", "function_call") or "functionCall" in block or "function_call" in block:
            self.add_calls(block.get("functionCall") or block.get("function_call") or block)
        elif kind in ("thinking", "reasoning"):
            self.thoughts += [
                text for key in ("thinking", "reasoning", "text") if isinstance(text := block.get(key), str)
            ]
        elif kind in ("tool_result", "function_response") or block.get("functionResponse") is not None:
            result = block.get("functionResponse") or block.get("content")
            self.parts.append(result if isinstance(result, str) else _compact(result))
        elif self._is_image(kind, block):
            self._add_image(block)
        elif kind not in _TEXT_TYPES:
            _fail(f"{self.where} is multimodal: it holds a block of type {seen(kind)}")
        else:
            for key in _BLOCK_TEXT_KEYS:
                if key in block and (block[key] is None or isinstance(block[key], (str, list, int, float))):
                    return self.add(block[key])
            if is_message(block):
                return self.parts.append(message_of(block, self.where)["content"])
            _fail(f"{self.where} is a struct without text", dict(block))
        return None

    @staticmethod
    def _is_image(kind: Any, block: Mapping[str, Any]) -> bool:
        if kind in _IMAGE_TYPES:
            return True
        has_text = any(isinstance(block.get(key), (str, list)) for key in _BLOCK_TEXT_KEYS)
        return (
            kind is None
            and not has_text
            and any(block.get(key) is not None for key in ("image", "image_url", "inlineData"))
        )

    def _add_image(self, block: Mapping[str, Any]) -> None:
        if not self.keep_images:
            _fail(f"{self.where} is multimodal: it holds a block of type {seen(block.get('type') or 'image')}")
        image = image_of({key: value for key, value in block.items() if key != "type"})
        self.images.append(image or Image())  # an empty one stands for the next image of the row's own column

    def add_calls(self, calls: Any) -> None:
        """Add tool calls, one line each."""
        calls = decoded(calls)
        for call in records(calls) if isinstance(records(calls), list) else [calls]:
            inner = decoded(call)
            if not isinstance(inner, Mapping):
                if inner not in (None, [], ""):
                    _fail(f"{self.where} holds a tool call that cannot be read", inner)
                continue
            function = decoded(inner.get("function")) if inner.get("function") is not None else inner
            if isinstance(function, str):
                function = {**inner, "name": function}
            name = next((function[key] for key in ("name", "tool_name", "tool") if function.get(key)), None)
            keys = ("arguments", "input", "args", "parameters", "kwargs")
            arguments = next((function[key] for key in keys if function.get(key) is not None), None)
            if name is None and arguments is None:
                continue
            self.parts.append(f"{name}({_compact(decoded(arguments)) if arguments not in (None, '', '{}') else ''})")


def _compact(value: Any) -> str:
    """Return a value as JSON with sorted keys, nulls (which Arrow structs are full of) left out."""
    return (
        value
        if isinstance(value, str)
        else json.dumps(_without_nulls(value), ensure_ascii=False, sort_keys=True, default=str)
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, (list, tuple)) else value


def tools_text(value: Any) -> str | None:
    """Return tool definitions as one text for the system message; None when there are none."""
    value = decoded(value)
    value = records(value)
    tools = [decoded(tool) for tool in (value if isinstance(value, (list, tuple)) else [value])]
    lines = [_compact(tool) for tool in tools if tool not in (None, "", [], {})]
    return "Available tools:\n" + "\n".join(lines) if lines else None
