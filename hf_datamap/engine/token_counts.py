"""How many tokens a reply says that it took, and whether that can be true."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_MOST: Final = 1 << 40  # tokens; a greater count is nonsense, and from 2**63 on no database takes it
_LEAST_WORDS: Final = 1_000  # words from which on a truncation can be told from an odd tokenizer
_CERTAIN, _DOUBTFUL = 0.5, 0.9  # tokens a word: below the first the text was cut, below the second it may have been
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")  # scripts that are written without spaces
_WIDE_A_TOKEN: Final = 4  # more characters than any tokenizer puts into one token on average


def count_of(value: object) -> int:
    """Return a token count as a whole number; 0 for what is none (negative, huge, text, nothing)."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 < value < _MOST else 0


def tokens_used(reply: object) -> tuple[int, int]:
    """Return the tokens sent and received, as the endpoint counts them; 0 where it does not say or says nonsense."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    if not isinstance(usage, Mapping):
        return 0, 0
    return count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))


def tokens_read(reply: Mapping[str, Any]) -> int:
    """Return the prompt tokens that the model has read, those from a cache included; 0 when that is not known."""
    usage = reply.get("usage")
    if not isinstance(usage, Mapping):
        return 0
    read = count_of(usage.get("prompt_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = count_of(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    cached = max(cached, count_of(usage.get("cache_read_input_tokens")), count_of(usage.get("prompt_cache_hit_tokens")))
    return max(read, read + cached if cached > read else read) if read else 0


def truncation(messages: Iterable[Mapping[str, Any]], read: int) -> tuple[str, bool]:
    """Tell whether a server has cut a prompt without saying so.

    A tokenizer makes at least one token of a word (of four characters of Chinese or Japanese), so a count far below the
    number of words means that the end or the beginning of the text was never read.

    Args:
        messages: what was sent.
        read: prompt tokens that the server counts; 0 when it does not say.

    Returns:
        What is wrong, empty when nothing is, and whether it is certain (the gap is too wide for any tokenizer).
    """
    if not read:
        return "", False
    texts = [content for message in messages for content in _texts(message.get("content"))]
    if sum(map(len, texts)) < 4 * max(read, _LEAST_WORDS // 2):  # most requests: nothing to count
        return "", False
    words = sum(len(text.split()) for text in texts)
    words += sum(len(_WIDE.findall(text)) for text in texts if not text.isascii()) // _WIDE_A_TOKEN
    if words < _LEAST_WORDS or read >= _DOUBTFUL * words:
        return "", False
    return f"the server read {read:,} tokens of a prompt of at least {words:,}", read < _CERTAIN * words


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, list):
        return [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return []
