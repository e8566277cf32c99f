"""Memory of decoded pictures: one budget for the process, so that many large ones do not add up."""

import threading
import weakref
from collections.abc import Callable

from pipeline.errors import PicturesBusyError
from pipeline.types import Picture

TOTAL_BYTES = 1024 * 1024 * 1024
SMALL_BYTES = 64 * 1024 * 1024
"""A picture that costs no more, such as a camera's, counts but does not wait."""
WAIT_SECONDS = 30.0


class DecodeMemory:
    """Thread-safe. A decoded picture counts as long as it lives."""

    def __init__(self, total_bytes: int = TOTAL_BYTES, wait_seconds: float = WAIT_SECONDS) -> None:
        self._total = total_bytes
        self._wait_seconds = wait_seconds
        # Garbage collection may release in the middle of an acquisition of the same thread: re-entrant.
        self._changed = threading.Condition(threading.RLock())
        self._used = 0

    @property
    def used(self) -> int:
        return self._used

    def decoded(self, cost: int, decode: Callable[[], Picture]) -> Picture:
        """The result of `decode`, which takes `cost` bytes at most, once there is room for them.

        Raises:
            PicturesBusyError: others penalties all the room for `WAIT_SECONDS`.
        """
        self._acquire(cost)
        kept = 0
        try:
            picture = decode()
            kept = min(cost, picture.nbytes)
            weakref.finalize(picture, self._release, kept).atexit = False
        finally:
            self._release(cost - kept)
        return picture

    def _acquire(self, cost: int) -> None:
        def has_room() -> bool:
            return self._used + cost <= self._total or self._used == 0

        with self._changed:
            if cost > SMALL_BYTES and not self._changed.wait_for(has_room, self._wait_seconds):
                raise PicturesBusyError(
                    f"others are being decoded, and this picture needs {cost // 2**20} MiB; try again later"
                )
            self._used += cost

    def _release(self, amount: int) -> None:
        with self._changed:
            self._used -= amount
            self._changed.notify_all()


MEMORY = DecodeMemory()
"""Of this process."""
