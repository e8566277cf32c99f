"""Escapes control characters in output that may come from cameras, servers and strangers."""

import io
import json
import re
import sys
from typing import TextIO

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
"""Control characters except tab and line feed, overrides of the writing direction, invisible characters."""


def visible(text: str, *, one_line: bool = False) -> str:
    """The text with control characters as JSON escapes, so that JSON keeps its meaning.

    `one_line` also escapes tabs and line feeds.
    """
    text = _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text


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


def steering(stream: TextIO) -> TextIO:
    """The stream without escapes, for Facend's own colours and progress bars."""
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
