"""Detects that a camera sends more than this box can decode.

The measure is the share of time that a camera's thread spends decoding or waiting to decode. On a box that
keeps up, the share is about a quarter. With one camera too many, it rises to four fifths on all cameras, and
they fall behind.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pipeline.base.backoff import Backoff

WINDOW_SECONDS = 5.0
"""Measuring interval; long enough to catch up after a short delay."""

BEHIND_SHARE = 0.7
"""Share of time from which a camera is behind."""

KEEPS_UP_SHARE = 0.35
"""Share of time below which a camera that was behind keeps up again. Lower than BEHIND_SHARE, because a
thread that is behind skips packets and so saves time."""

FIRST_OVERLOAD_SECONDS = 600.0
MAX_OVERLOAD_SECONDS = 3600.0
"""Jittered delays before full decoding is tried again."""


class DecodeLoad:
    """Decode load of one camera. The camera's thread records the time spent; any thread may read.

    A camera that was behind for two windows in a row is overloaded until full decoding is tried again. One
    window is not enough, so that a slow start does not count.
    """

    def __init__(
        self,
        limiter: AbstractContextManager[object] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """limiter: a semaphore that all cameras share."""
        self._limiter = limiter or nullcontext()
        self._backoff = backoff or Backoff(FIRST_OVERLOAD_SECONDS, MAX_OVERLOAD_SECONDS)
        self._clock = clock
        self._window_start = clock()
        self._busy_seconds = 0.0
        self._overloaded_until = 0.0
        self.behind = False
        """Whether the camera's thread cannot keep up at present."""

    @property
    def overloaded(self) -> bool:
        """Whether to decode key frames only, because the camera fell behind recently."""
        return self._clock() < self._overloaded_until

    def limit(self) -> AbstractContextManager[object]:
        """Held while decoding; limits concurrency only when the camera falls behind.

        More threads than cores decode no faster, but would delay the analysis, which needs a core too.
        """
        return self._limiter if self.behind else nullcontext()

    def record(self, seconds: float) -> None:
        """Add time spent decoding or waiting for the limiter."""
        self._busy_seconds += seconds
        now = self._clock()
        passed = now - self._window_start
        if passed < WINDOW_SECONDS:
            return
        share, self._busy_seconds, self._window_start = self._busy_seconds / passed, 0.0, now
        was_behind, self.behind = self.behind, share >= (KEEPS_UP_SHARE if self.behind else BEHIND_SHARE)
        if now < self._overloaded_until:
            return
        if was_behind and share >= BEHIND_SHARE:
            self._overloaded_until = now + self._backoff.pause_seconds()
        elif now - self._overloaded_until > MAX_OVERLOAD_SECONDS:
            self._backoff.reset()
