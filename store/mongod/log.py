"""What a private mongod says: the serious part goes into our log, and its last words are kept."""

import json
import time
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger()

REPEAT_SECONDS = 60.0
"""What is said again and again is logged at most so often."""

LAST_WORDS = 20
_REMEMBERED = 200
_STACK = ("Frame", "BACKTRACE")
"""Lines of a stack, which say nothing to whoever reads why the server ended."""


class RepeatThrottle:
    """Which lines are due: of each text one a minute, with the number of those that were left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._logged: dict[str, tuple[float, int]] = {}
        """When it was logged last, and how often it came since."""

    def due(self, text: str) -> dict[str, int] | None:
        """What the line says of those before it; None where it is too early for another one."""
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
    """Takes the lines of one server after the other."""

    def __init__(self, repeats: RepeatThrottle) -> None:
        self._repeats = repeats
        self._last: deque[str] = deque(maxlen=LAST_WORDS)

    def begin(self) -> None:
        """Another server: what the one before said counts no more."""
        self._last.clear()

    def add_line(self, line: bytes) -> None:
        level, text = parse(line)
        if not text or text.startswith(_STACK):
            return
        self._last.append(text)
        if level in {"F", "E"} and (counted := self._repeats.due(text)) is not None:
            log.error("the private mongod says", message=text, **counted)

    def last_words(self) -> str:
        """The end of what was said; empty where nothing was."""
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
