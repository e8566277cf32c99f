"""Terminal output: escapes control characters from cameras, servers and files; plurals."""

import io
import sys
from typing import TextIO

from pipeline.base.control_characters import visible


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 face`, `2 faces`. `plural`: default: the noun with an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


class VisibleText(io.TextIOWrapper):
    """A standard stream that escapes control characters."""

    def write(self, text: str, /) -> int:
        # A progress bar begins its lines with a carriage return.
        begin = "\r" if text.startswith("\r") else ""
        super().write(begin + visible(text.removeprefix(begin)))
        return len(text)


def protect() -> None:
    """Escape control characters on the standard streams of the process."""
    sys.stdout = _visible_text(sys.stdout)
    sys.stderr = _visible_text(sys.stderr)


def unescaped(stream: TextIO) -> TextIO:
    """The stream without escaping, for Facend's own colours and progress bars."""
    if not isinstance(stream, VisibleText):
        return stream
    return open(
        stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, buffering=1, closefd=False
    )


def _visible_text(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, VisibleText):
        return stream
    encoding, line_buffering = stream.encoding, stream.line_buffering
    return VisibleText(
        stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=line_buffering
    )
