"""Output of the private mongod: errors go to the log, the last lines are kept for a post-mortem."""

import json
import time
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger()

REPEAT_SECONDS = 60.0
"""Minimum interval between equal log lines."""

LAST_WORDS = 20
_REMEMBERED = 200
_STACK = ("Frame", "BACKTRACE")
"""Beginnings of the lines of a stack trace, which are left out."""


class RepeatThrottle:
    """Throttles equal log lines to one per REPEAT_SECONDS, and counts those that are left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._logged: dict[str, tuple[float, int]] = {}
        """By text: the time of its last log line, and the number of repeats since."""

    def due(self, text: str) -> dict[str, int] | None:
        """Fields for the log line, with the number of repeats left out; None if it is too early for a
        line."""
        now = self._monotonic()
        at, left_out = self._logged.pop(text, (None, 0))
        early = at is not None and now - at < REPEAT_SECONDS
        self._logged[text] = (at if early and at is not None else now, left_out + 1 if early else 0)
        if len(self._logged) > _REMEMBERED:
            del self._logged[next(iter(self._logged))]
        if early:
            return None
        return {"repeats_not_logged": left_out} if left_out else {}


class MongodLog:
    """Processes the output of one server after the other."""

    def __init__(self, repeats: RepeatThrottle) -> None:
        self._repeats = repeats
        self._last: deque[str] = deque(maxlen=LAST_WORDS)

    def begin(self) -> None:
        """Start with the output of a new server."""
        self._last.clear()

    def add_line(self, line: bytes) -> None:
        level, text = parse(line)
        if not text or text.startswith(_STACK):
            return
        self._last.append(text)
        if level in {"F", "E"} and (counted := self._repeats.due(text)) is not None:
            log.error("the private mongod says", message=text, **counted)

    def last_words(self) -> str:
        """The last lines, joined; "" if there are none."""
        return "; ".join(self._last)[-600:]


def parse(line: bytes) -> tuple[str, str]:
    """Severity and message of one line of mongod's JSON log; plain text counts as information."""
    text = line.decode(errors="replace").strip()
    try:
        entry = json.loads(text)
    except ValueError:
        return "I", text
    if not isinstance(entry, dict):
        return "I", text
    given = entry.get("attr")
    attributes = given if isinstance(given, dict) else {}
    said = attributes.get("error") or attributes.get("message") or ""
    if isinstance(detail := attributes.get("message"), dict):  # of the storage engine
        said = f"{detail.get('error_str', said)} ({detail.get('msg', '')})"
    return str(entry.get("s", "I")), " ".join(f"{entry.get('msg', '')} {said}".split())
