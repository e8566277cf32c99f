"""Limits the connections to each camera to one a second, whatever the camera answers.

Retries, redirects, other transports and reachability probes all count. Cameras are small machines: some stop
answering, or lock a user out, when connections come faster.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cameras.settings import CameraSettings

INTERVAL_SECONDS = 1.1
"""More than a second, because the network delays connections by different times."""

_lock = threading.Lock()
_next_turns: dict[tuple[str, str], float] = {}
"""Monotonic time of the next permitted connection, by camera and URL."""


@contextmanager
def limited_connection(settings: CameraSettings) -> Iterator[None]:
    """Wait until another connection to the camera is permitted; connect within the block."""
    wait_to_connect(settings)
    try:
        yield
    finally:
        count_connection(settings)


def wait_to_connect(settings: CameraSettings) -> None:
    """Wait until another connection to the camera is permitted, and count it."""
    key = _key(settings)
    while (seconds := _take_turn(key)) > 0:
        time.sleep(seconds)


def count_connection(settings: CameraSettings) -> None:
    """A connection was made or refused; the next one counts from now, because a busy box connects late."""
    with _lock:
        _next_turns[_key(settings)] = time.monotonic() + INTERVAL_SECONDS


def _key(settings: CameraSettings) -> tuple[str, str]:
    return settings.id, settings.url


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
