"""Noticing that a camera sends more than can be decoded here.

What tells is the share of its time in which a camera's thread is decoding or waits to go on with it. Up to a
box's limit that is a quarter; with one camera more all of them need four fifths, and fall behind.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pipeline.base.backoff import Backoff

WINDOW_SECONDS = 5.0
"""Whoever was held up for a moment has caught up after so long."""

BEHIND_SHARE = 0.7
KEEPS_UP_SHARE = 0.35
"""A thread that is behind leaves something out, and so has some time; it keeps up again only below this."""

FIRST_SECONDS = 600.0
LONGEST_SECONDS = 3600.0
"""So long, shortened at random, an overload is taken to last: to decode everything means to fall behind."""


class DecodeLoad:
    """Of one camera's thread, which says how long it was decoding. Anybody may ask.

    The camera is overloaded once it was behind for another `WINDOW_SECONDS`, as nobody is who only had a hard
    start, until it is worth a try to decode everything again.
    """

    def __init__(
        self,
        limiter: AbstractContextManager[object] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limiter`: lets in so many at once as are to decode when there is too little time for all."""
        self._limiter = limiter or nullcontext()
        self._backoff = backoff or Backoff(FIRST_SECONDS, LONGEST_SECONDS)
        self._clock = clock
        self._since = clock()
        self._spent = 0.0
        self._until = 0.0
        self.behind = False
        """Whether it does not keep up just now."""

    @property
    def overloaded(self) -> bool:
        """Whether it is better not to decode everything, because it fell behind not long ago."""
        return self._clock() < self._until

    def limit(self) -> AbstractContextManager[object]:
        """To decode in: at once where it keeps up.

        More threads at once would decode no more, but whoever needs the interpreter for what they decoded
        would wait for a core behind all of them.
        """
        return self._limiter if self.behind else nullcontext()

    def record(self, seconds: float) -> None:
        """It was decoding for so long, or waiting for its turn."""
        self._spent += seconds
        now = self._clock()
        passed = now - self._since
        if passed < WINDOW_SECONDS:
            return
        share, self._spent, self._since = self._spent / passed, 0.0, now
        was_behind, self.behind = self.behind, share >= (KEEPS_UP_SHARE if self.behind else BEHIND_SHARE)
        if now < self._until:
            return
        if was_behind and share >= BEHIND_SHARE:
            self._until = now + self._backoff.pause_seconds()
        elif now - self._until > LONGEST_SECONDS:
            self._backoff.reset()
