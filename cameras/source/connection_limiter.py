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


def wait_for_turn(settings: CameraSettings) -> None:
    """Wait until another connection to the camera is permitted, and count it."""
    now = time.monotonic()
    with _lock:
        for key in [key for key, turn in _next_turns.items() if turn <= now]:
            del _next_turns[key]
        key = (settings.id, settings.url)
        turn = max(now, _next_turns.get(key, 0.0))
        _next_turns[key] = turn + INTERVAL_SECONDS
    time.sleep(turn - now)
