"""Ids of faces: uint64, ordered by time, generated without coordination.

63 bits, because BSON's integers are signed: 42 bits of milliseconds since 1970 (until the year 2109), 9
random bits per generator, 12 bits that count within a millisecond. Two processes can generate the same id;
MongoDB refuses the second, and that face gets another id.
"""

import secrets
import threading
import time
from collections.abc import Callable

COUNT_BITS = 12
GENERATOR_BITS = 9
TIME_SHIFT = COUNT_BITS + GENERATOR_BITS


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class TimeOrderedIds:
    """Generates increasing ids, also if the clock jumps back. Thread-safe."""

    def __init__(self, milliseconds: Callable[[], int] = _milliseconds) -> None:
        self._milliseconds = milliseconds
        self._lock = threading.Lock()
        self._generator = secrets.randbits(GENERATOR_BITS)
        self._last = 0
        self._count = 0

    def next(self) -> int:
        with self._lock:
            now = self._milliseconds()
            if now > self._last:
                self._last, self._count = now, 0
            else:
                self._count += 1
                if self._count >> COUNT_BITS:
                    # More than 4096 ids in a millisecond, or the clock went back: advance the time.
                    self._last, self._count = self._last + 1, 0
            return self._last << TIME_SHIFT | self._generator << COUNT_BITS | self._count


def first_id_of(milliseconds: int) -> int:
    """The smallest id generated at this time or later."""
    return max(0, milliseconds) << TIME_SHIFT
