"""`Example`: one row of any preference dataset, as every scorer sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from hf_datamap.errors import RowError

_SHOWN = 40  # characters of the last message in a `repr`


@dataclass(frozen=True, slots=True)
class Image:
    """An image that belongs to a message: a reference, not a decoded picture.

    Attributes:
        data: the encoded file (PNG, JPEG, ...), where the row holds it.
        path: the file's path or URL, where the row holds that; with `data` it is only a name.
    """

    data: bytes | None = None
    path: str | None = None

    def __repr__(self) -> str:
        size = "" if self.data is None else f", {len(self.data):,} bytes"
        return f"Image({self.path or 'inline'}{size})"

    @property
    def is_url(self) -> bool:
        """Whether only a URL is known; it is never fetched here."""
        return self.data is None and bool(self.path) and "://" in str(self.path)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the bytes, or of the path where there are none: what a cache key needs."""
        return hashlib.sha256(self.data if self.data is not None else str(self.path).encode()).hexdigest()

    def read(self) -> bytes:
        """Return the encoded file.

        Raises:
            RowError: it is a URL (fetching is left to the caller), or the file cannot be read.
        """
        if self.data is not None:
            return self.data
        if self.path is None:
            raise RowError("the image is not in the row: a block stands for it, and no column holds it")
        if self.is_url:
            raise RowError("the image is a URL, and URLs are not fetched", str(self.path)[:80])
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise RowError("the image file cannot be read", f"{str(self.path)[:80]}: {error.strerror}") from None


class Message(TypedDict):
    """One chat message; ``content`` is its text, tool calls included.

    ``images`` and ``reasoning`` (what the model thought before it spoke) are there only when the message has some.
    """

    role: str
    content: str
    images: NotRequired[tuple[Image, ...]]
    reasoning: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One verifiable constraint of a prompt.

    Attributes:
        id: the IFEval instruction id, for example ``punctuation:no_comma`` (a language prefix such as ``en:`` is kept).
        kwargs: its keyword arguments, without nulls.
        turn: which of the user's messages it belongs to, from 1; None where constraints are not given per turn.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with its N responses and whatever ships with them.

    Attributes:
        prompt: chat messages up to the point of response (system kept), oldest first.
        responses: N texts in the row's own order; None where the row has no text for that response.
        annotations: N labels or scores that ship with the row, higher is better, None where one is missing;
            None as a whole when the row has none.
        references: reference answers to the prompt, if any.
        constraints: verifiable constraints of the prompt, if any.
        rubric: what matters for this prompt in particular, if the row says so.
        source_id: where the row came from (an id column), if any.
        scores: scores that were read beside, N each, by the name of who wants them (members of a panel).
        reasoning: N texts, None where there is none, of what the model thought before each response
            (``reasoning_content``, ``thinking``): kept apart from the response; empty when no response has any.
    """

    prompt: tuple[Message, ...]
    responses: list[str | None]
    annotations: list[float | None] | None = None
    references: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    rubric: str = ""
    source_id: str | None = None
    scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    reasoning: tuple[str | None, ...] = ()

    def __repr__(self) -> str:
        prompt = " ".join(str(self.prompt[-1]["content"]).split()) if self.prompt else ""
        shown = prompt if len(prompt) <= _SHOWN else f"{prompt[: _SHOWN - 3]}..."
        labels = "no annotations" if self.annotations is None else f"annotations {list(self.annotations[:4])}"
        return f"Example({len(self.prompt)} messages, last {shown!r}, {len(self.responses)} responses, {labels})"

    @property
    def has_images(self) -> bool:
        """Whether a message of the prompt has images: a scorer that reads texts alone judges without them."""
        return any("images" in message for message in self.prompt)
