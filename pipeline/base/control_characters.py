"""Escapes control characters in text from cameras, servers and files, so that terminals do not act on
them."""

import json
import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Control characters except tab and line feed, direction overrides, invisible characters and lone
surrogates."""


def visible(text: str, *, one_line: bool = False) -> str:
    """The text with control characters as JSON escapes, which keep JSON's meaning.

    With `one_line` tabs and line feeds are escaped as well.
    """
    text = _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text
