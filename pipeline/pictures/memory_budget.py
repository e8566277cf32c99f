"""Memory budget of the process for decoded pictures; a large picture waits until enough memory is free."""

import threading
import weakref
from collections.abc import Callable

from pipeline.errors import PicturesBusyError
from pipeline.types import Picture

TOTAL_BYTES = 1024 * 1024 * 1024
SMALL_BYTES = 64 * 1024 * 1024
"""Pictures up to this size, such as camera frames, count but do not wait."""
WAIT_SECONDS = 30.0


class DecodeMemory:
    """The memory budget. A decoded picture counts until it is garbage-collected. Thread-safe."""

    def __init__(self, total_bytes: int = TOTAL_BYTES, wait_seconds: float = WAIT_SECONDS) -> None:
        self._total = total_bytes
        self._wait_seconds = wait_seconds
        # Reentrant: garbage collection may call _release while the same thread is in _acquire.
        self._changed = threading.Condition(threading.RLock())
        self._used = 0

    @property
    def used(self) -> int:
        return self._used

    def run(self, cost: int, decode: Callable[[], Picture]) -> Picture:
        """Run `decode`, which needs at most `cost` bytes, as soon as the budget has room for it.

        Raises:
            PicturesBusyError: other pictures used the whole budget for `WAIT_SECONDS`.
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
                    f"the memory for decoding is in use; the picture needs {cost // 2**20} MiB: try later"
                )
            self._used += cost

    def _release(self, amount: int) -> None:
        with self._changed:
            self._used -= amount
            self._changed.notify_all()


MEMORY = DecodeMemory()
"""The budget of this process."""
