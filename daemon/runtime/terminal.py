"""What is printed may come from cameras, servers and strangers; none of it may steer a terminal."""

import io
import json
import re
import sys
from typing import TextIO

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line feed, overrides of the writing direction, and what is invisible."""


def visible(text: str, *, one_line: bool = False) -> str:
    """The text with steering characters as the escapes of JSON, which leaves JSON what it means.

    With `one_line` tabs and line feeds are escaped as well.
    """
    text = _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text


class VisibleText(io.TextIOWrapper):
    """A standard stream that shows steering characters instead of sending them."""

    def write(self, text: str, /) -> int:
        # Progress is drawn over by a line that begins with a carriage return of our own.
        begin = "\r" if text.startswith("\r") else ""
        super().write(begin + visible(text.removeprefix(begin)))
        return len(text)


def protect() -> None:
    """Make the standard streams of the process visible text."""
    sys.stdout = _visible_text(sys.stdout)
    sys.stderr = _visible_text(sys.stderr)


def steering(stream: TextIO) -> TextIO:
    """The stream for what we write ourselves to steer the terminal: colours and progress bars."""
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
