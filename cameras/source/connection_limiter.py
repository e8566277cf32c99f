"""Limits the connections to each camera to one a second, whatever the camera answers.

Retries, redirects, other transports and reachability probes all count. Cameras are small machines: some stop
answering, or lock a user out, when connections come faster.
"""

import threading
import time

from cameras.settings import CameraSettings

INTERVAL_SECONDS = 1.1
"""More than a second, because the network delays connections by different times."""

_lock = threading.Lock()
_next_turns: dict[tuple[str, str], float] = {}
"""Monotonic time of the next permitted connection, by camera and URL."""


def wait_to_connect(settings: CameraSettings) -> None:
    """Wait until another connection to the camera is permitted, and count it."""
    key = (settings.id, settings.url)
    while (seconds := _take_turn(key)) > 0:
        time.sleep(seconds)


def _take_turn(key: tuple[str, str]) -> float:
    """Take the turn if it is due; otherwise, seconds until then. The next one counts from now, not from when
    this one was due, because a busy box wakes late."""
    now = time.monotonic()
    with _lock:
        for passed in [other for other, turn in _next_turns.items() if turn <= now]:
            del _next_turns[passed]
        if (turn := _next_turns.get(key)) is not None:
            return turn - now
        _next_turns[key] = now + INTERVAL_SECONDS
        return 0.0
