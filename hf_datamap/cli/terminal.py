"""What commands print, through one gate: nothing that a dataset, a server or an error says steers the terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from hf_datamap.engine.secrets import mask

# Control characters but tab and line feed, direction marks, invisible spaces, tag characters, lone surrogates. The
# joiners U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35"}


def clean(text: str) -> str:
    """Return a text in which every character that could steer a terminal shows as its escape."""
    return _STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


class GuardedStream:
    """A text stream whose text is cleaned, and secrets masked; it has no ``buffer``: nothing goes around it.

    Args:
        stream: where the cleaned text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, cleaned and without secrets."""
        # A progress bar returns to the beginning of its line; within a text that would hide what stands before.
        returns = len(text) - len(text.lstrip("\r"))
        self.write_styled("\r" * returns + clean(mask(text[returns:].replace("\r\n", "\n"))))
        return len(text)

    def write_styled(self, text: str) -> None:
        """Write text whose escape sequences are our own."""
        try:
            self.stream.write(text)
        except UnicodeEncodeError:  # a terminal of few characters: an escape is better than a traceback
            encoding = self.stream.encoding or "ascii"
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Pass on what was written."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether a person reads it in a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The number of the file, for those who ask for the size of the terminal."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It can be written to."""
        return True

    @property
    def encoding(self) -> str:
        """The encoding of the stream underneath."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:
        """What the stream underneath does with characters that it cannot write."""
        return self.stream.errors


@contextmanager
def guarded() -> Iterator[None]:
    """Guard stdout and stderr of this process for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, GuardedStream) else GuardedStream(stream) for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def print_file(text: str) -> None:
    """Print the content of a file: cleaned in a terminal, character by character as it is where it is piped."""
    stream = sys.stdout
    if isinstance(stream, GuardedStream) and not stream.isatty():
        stream.write_styled(text)
    else:
        stream.write(text)
    stream.flush()


def width() -> int:
    """Columns of the terminal, at most 100; 80 where output is piped."""
    return max(40, min(100, shutil.get_terminal_size((80, 24)).columns)) if sys.stdout.isatty() else 80


def styled(text: str, *styles: str) -> str:
    """Return cleaned text in colour where stdout is a terminal that shows colours (and ``NO_COLOR`` is not set)."""
    plain = clean(mask(text))
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return plain
    codes = ";".join(_STYLES[style] for style in styles)
    return f"\x1b[{codes}m{plain}\x1b[0m"


def print_screen(lines: list[str]) -> None:
    """Print lines made with `styled` on stdout; other text in them must have been cleaned."""
    text = "\n".join(lines) + "\n"
    stream = sys.stdout
    if isinstance(stream, GuardedStream):
        stream.write_styled(text)
    else:
        stream.write(text)
    stream.flush()
