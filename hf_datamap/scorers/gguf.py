"""Reading the vocabulary of a GGUF file: whether a model's tokenizer has a score as one token."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

#: Sizes of the scalar types, by their number in the format (ggml's gguf.md): ints, floats and booleans.
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_TOKENS: Final = b"tokenizer.ggml.tokens"
_MOST_ENTRIES: Final = 10_000_000


def has_token(path: Path, text: str) -> bool | None:
    """Whether a text is one token of the model, with or without the mark of a space before it.

    Returns:
        None when the file does not say: it has no vocabulary, or is not to be read.
    """
    forms = {mark + text.encode() for mark in (b"", "▁".encode(), "Ġ".encode())}
    try:
        with path.open("rb") as file:
            return _search(file, forms)
    except (OSError, struct.error, KeyError, ValueError):
        return None


def _search(file: BinaryIO, forms: set[bytes]) -> bool | None:
    if file.read(4) != b"GGUF":
        return None
    _, _, entries = struct.unpack("<IQQ", file.read(20))
    for _ in range(min(entries, _MOST_ENTRIES)):
        key = _string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if key == _TOKENS and kind == _ARRAY:
            _, count = struct.unpack("<IQ", file.read(12))
            return any(_string(file) in forms for _ in range(min(count, _MOST_ENTRIES)))
        _skip(file, kind)
    return None


def _string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > 1 << 24:
        raise ValueError("no such string")
    return file.read(length)


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _string(file)
    elif kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _SIZES:
            file.seek(count * _SIZES[inner], 1)
        else:
            for _ in range(min(count, _MOST_ENTRIES)):
                _skip(file, inner)
    else:
        file.seek(_SIZES[kind], 1)
