"""Text files as people keep them: packed or not, in UTF-8, UTF-16 or a Windows code page."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import logging
import lzma
from pathlib import Path
from typing import IO, Any, Final

from hf_datamap.errors import SourceError

_log = logging.getLogger(__name__)

_PACKED: Final = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD: Final = 1 << 16


def plain_suffix(path: Path) -> str:
    """Return the ending of a file's name in lower case, without that of a packer."""
    return Path(path.name.lower().removesuffix(path.suffix.lower()) if is_packed(path) else path.name.lower()).suffix


def is_packed(path: Path) -> bool:
    """Tell whether a file is packed by gzip, bzip2 or xz."""
    return path.suffix.lower() in _PACKED


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, unpacked."""
    opener: Any = _PACKED.get(path.suffix.lower(), open)
    file: IO[bytes] = opener(path, "rb")
    return file


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file, from its byte order mark or its beginning.

    What is neither UTF-8 nor UTF-16 is taken for Windows-1252, of which Latin-1 is a part; this is said in the log.

    Raises:
        SourceError: the file cannot be read at all.
    """
    try:
        with open_bytes(path) as file:
            head = file.read(_HEAD)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise SourceError(f"cannot read {path}: {error}") from None
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if len(head) > 3 and (head[1] == 0 or head[0] == 0):
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        _log.warning("%s is not UTF-8; it is read as Windows-1252 (Latin-1). Convert it if letters look wrong", path)
        return "cp1252"
    return "utf-8"


def open_text(path: Path, encoding: str = "") -> IO[str]:
    """Open a text file, unpacked and decoded; line ends stay as they are."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding or encoding_of(path), newline="")
