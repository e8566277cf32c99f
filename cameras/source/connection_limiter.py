"""Limits the rate of connections to each camera to one per second.

Retries, redirects, changes of transport and reachability probes all count. When connections come faster, some
cameras stop answering or lock the user out.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cameras.settings import CameraSettings

INTERVAL_SECONDS = 1.2
"""Slightly more than a second, because network delay varies."""

_lock = threading.Lock()
_next_allowed: dict[tuple[str, str], float] = {}
"""Monotonic time from which the next connection is allowed, by camera id and URL."""


@contextmanager
def limited_connection(settings: CameraSettings) -> Iterator[None]:
    """Wait until a connection to the camera is allowed. Connect within the block."""
    wait_to_connect(settings)
    try:
        yield
    finally:
        count_connection(settings)


def wait_to_connect(settings: CameraSettings) -> None:
    """Wait until a connection to the camera is allowed, and count it."""
    key = _key(settings)
    while (seconds := _reserve(key)) > 0:
        time.sleep(seconds)


def count_connection(settings: CameraSettings) -> None:
    """Record a connection attempt. The next interval begins now, because a busy box connects late."""
    with _lock:
        _next_allowed[_key(settings)] = time.monotonic() + INTERVAL_SECONDS


def _key(settings: CameraSettings) -> tuple[str, str]:
    return settings.id, settings.url


def _reserve(key: tuple[str, str]) -> float:
    """Reserve a connection now and return 0, or return the seconds to wait before the next try.

    The next interval begins now, not when this connection was first allowed: on a busy box the thread wakes
    late.
    """
    now = time.monotonic()
    with _lock:
        for expired in [other for other, allowed_at in _next_allowed.items() if allowed_at <= now]:
            del _next_allowed[expired]
        if (allowed_at := _next_allowed.get(key)) is not None:
            return allowed_at - now
        _next_allowed[key] = now + INTERVAL_SECONDS
        return 0.0
