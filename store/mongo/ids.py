"""Ids of faces: uint64, ordered by time, generated without coordination.

63 bits, because BSON's whole numbers have a sign: 42 bits of milliseconds since 1970 (until
the year 2109), 9 bits that tell generators apart, 12 bits that count within a millisecond.
Two processes can draw the same 9 bits and hit the same millisecond and count; the unique
`_id` in MongoDB notices, and the face gets another id.
"""

import secrets
import threading
import time
from collections.abc import Callable

COUNT_BITS = 12
MAKER_BITS = 9
TIME_SHIFT = COUNT_BITS + MAKER_BITS


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class TimeOrderedIds:
    """Makes ids that only go up, also where the clock jumps back. For any thread."""

    def __init__(self, milliseconds: Callable[[], int] = _milliseconds) -> None:
        self._milliseconds = milliseconds
        self._lock = threading.Lock()
        self._maker = secrets.randbits(MAKER_BITS)
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
                    # More than 4096 in a millisecond, or the clock went back: time runs on by itself.
                    self._last, self._count = self._last + 1, 0
            return self._last << TIME_SHIFT | self._maker << COUNT_BITS | self._count


def first_id_of(milliseconds: int) -> int:
    """The smallest id that can be made at that time or later."""
    return max(0, milliseconds) << TIME_SHIFT
