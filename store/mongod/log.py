"""Output of the private mongod: errors are logged, and the last lines kept to report why it ended."""

import json
import time
from collections import deque
from collections.abc import Callable

import structlog

from pipeline.base.log_limiter import LogLimiter

log = structlog.get_logger()

KEPT_LINES = 20
_MAX_TEXTS = 200
_STACK_TRACE = ("Frame", "BACKTRACE")
"""Prefixes of the lines of a stack trace, which are skipped."""


class RepeatThrottle:
    """A log limiter per text, for the most recent texts."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._limiters: dict[str, LogLimiter] = {}

    def due(self, text: str) -> dict[str, int] | None:
        """Fields for a log line that is due, with the number of repeats that were not logged; else None."""
        limiter = self._limiters.pop(text, None) or LogLimiter("repeats_not_logged")
        self._limiters[text] = limiter
        if len(self._limiters) > _MAX_TEXTS:
            del self._limiters[next(iter(self._limiters))]
        return limiter.due(self._monotonic())


class MongodLog:
    """Processes the output of a server, and of the servers started after it."""

    def __init__(self, repeats: RepeatThrottle) -> None:
        self._repeats = repeats
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    def clear(self) -> None:
        """Forget the lines of the previous server."""
        self._last.clear()

    def add_line(self, line: bytes) -> None:
        level, text = parse(line)
        if not text or text.startswith(_STACK_TRACE):
            return
        self._last.append(text)
        if level in {"F", "E"} and (counted := self._repeats.due(text)) is not None:
            log.error("error of the private mongod", message=text, **counted)

    def last_lines(self) -> str:
        """The last lines, joined; "" if there are none."""
        return "; ".join(self._last)[-600:]


def parse(line: bytes) -> tuple[str, str]:
    """Severity and message of a line of mongod's JSON log; other text has the severity I."""
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
    if isinstance(detail := attributes.get("message"), dict):  # from the storage engine
        said = f"{detail.get('error_str', said)} ({detail.get('msg', '')})"
    return str(entry.get("s", "I")), " ".join(f"{entry.get('msg', '')} {said}".split())
