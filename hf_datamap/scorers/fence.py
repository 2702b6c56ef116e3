"""Keeping judged texts apart from the judge's instructions.

A judged text may try to steer the judge: pose as the end of the material, as another response, or as a system message.
Three things stand against that. The lines that separate the parts carry a code made with a secret of this machine's
score store, so whoever wrote a text could not know it. Lines in a text that look like such markers, begin like a turn
of a chat, or speak to a judge are shown as quotations, the last of these without their numbers. And the control tokens
of chat templates, which some servers would read as such even inside a message, are broken up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from hf_datamap.engine import config
from hf_datamap.scorers.judge_directed import find_judge_directed

_KEY_FILE: Final = "judge-fence.key"
_SECRET_BYTES: Final = 32

_ROLES: Final = r"system|user|assistant|human|ai|developer|tool|model|judge|evaluator|instructions?|prompt|reference"
#: Lines that look like one of our markers, like a heading of a prompt, or like the beginning of a turn.
_MARKER_LIKE: Final = re.compile(
    r"^(?=[ \t]*(?:"
    r"\[\[[^\]\n]{0,80}\]\][ \t]*$"
    r"|[-=#*_<\[ \t]{0,6}(?:end|begin|start)(?: of)? (?:the )?"
    r"(?:material|response|prompt|conversation|reference|text)\b"
    rf"|[#*<\[ \t]{{0,6}}(?:{_ROLES}|response \d+)[\]>*]{{0,3}}[ \t]*:"
    rf"|#{{1,6}}[ \t]*(?:{_ROLES}|response)\b"
    r"|The scores?, as JSON:"
    r"))",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT: Final = 16_384  # characters of a text that is worth remembering
_LINE_BREAK: Final = re.compile(r"\n")
_NUMBER: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d+)?(?![\w.]*\d)")
#: Control tokens of chat templates: ChatML and Llama 3, Gemma, Llama 2 and Mistral, and the sentence marks.
_CONTROL: Final = re.compile(
    r"(<)(\|[^|<>\n]{1,40}\|>|/?(?:start|end)_of_turn>|/?s>|<SYS>>|</SYS>>|｜[^<>\n]{1,40}｜>)|(\[)(/?INST\])",
    re.IGNORECASE,
)


def fence_secret() -> bytes:
    """Return the secret of this machine's score store; made when it is first needed, readable by its owner only."""
    return _secret_of(*map(os.environ.get, ("HF_DATAMAP_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")))


@lru_cache(maxsize=64)  # asked for every request; making a path takes longer than all else about a prompt
def _secret_of(*_environment: str | None) -> bytes:
    return _secret_in(config.cache_dir())


@lru_cache(maxsize=8)
def _secret_in(folder: Path) -> bytes:
    path = folder / _KEY_FILE
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        # Written aside and linked into place: of several processes one wins, and none reads half a secret.
        draft = folder / f"{_KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_bytes(secrets.token_bytes(_SECRET_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        secret = path.read_bytes()
        if len(secret) >= _SECRET_BYTES:
            return secret
    return secrets.token_bytes(_SECRET_BYTES)  # nowhere to keep it: it lasts as long as this process


def fence_code(texts: Iterable[str], secret: bytes) -> str:
    """Return the code of the markers around some texts: twelve hex digits that their authors cannot foresee."""
    digest = hashlib.blake2b(digest_size=6, key=secret)
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def neutralised(text: str) -> str:
    """Return a text without lone surrogates, with marker-like lines as quotations and control tokens broken up."""
    return _neutralised_once(text) if len(text) <= _SHORT else _neutralise(text)


@lru_cache(maxsize=512)  # a prompt is shown with each of its responses
def _neutralised_once(text: str) -> str:
    return _neutralise(text)


def _neutralise(text: str) -> str:
    text = _without_requests(clean(text))
    if "<" in text or "[" in text:
        text = _CONTROL.sub(lambda match: f"{match[1] or match[3]} {match[2] or match[4]}", text)
    return _MARKER_LIKE.sub("> ", text)


def _without_requests(text: str) -> str:
    """A text in which lines that speak to a judge are quotations without numbers: there is none to repeat."""
    starts: list[int] = []
    for words in find_judge_directed(text):
        first = text.rfind("\n", 0, words.start) + 1
        starts += [first, *(match.end() for match in _LINE_BREAK.finditer(text, first, words.end))]
    if not starts:
        return text
    pieces: list[str] = []
    position = 0
    for start in sorted(set(starts)):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        pieces += [text[position:start], "> ", _NUMBER.sub("[number]", text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])


def clean(text: str) -> str:
    """Replace lone surrogates, which no endpoint accepts."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
