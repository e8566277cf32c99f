"""A slot of one frame between a camera's thread and the analysis thread.

The newest frame wins: a slow analysis never delays a camera, and each replaced frame is counted. A break in
the stream is never lost, so no track continues across it.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cameras.observer import CameraObserver, UnobservedCamera
from pipeline.types import Frame


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """A break between the frames before and after: tracks in progress end here."""

    cam_id: str


class LatestFrame:
    """The latest frame of one camera, for one writing and one taking thread.

    Each frame that is replaced before it is taken is reported to the observer. `on_ready` is called on the
    writing thread when an item can be taken.
    """

    def __init__(
        self,
        cam_id: str,
        observer: CameraObserver | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.cam_id = cam_id
        self._observer = observer or UnobservedCamera()
        self._on_ready = on_ready
        self._changed = threading.Condition()
        # At most three items (frame, end, frame): a hanging analysis must not fill the memory.
        self._waiting: deque[Frame | EndOfStream] = deque()
        self._closed = False
        self._dropped = 0
        self._current_writer = 0
        self._at_break = True

    @property
    def dropped(self) -> int:
        """Number of frames that were replaced before they were taken."""
        with self._changed:
            return self._dropped

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    @property
    def waiting(self) -> int:
        """Number of items to take."""
        with self._changed:
            return len(self._waiting)

    def writer(self) -> "FrameWriter":
        """Mark a break and return a new writer. Calls of earlier writers have no effect from now on."""
        with self._changed:
            self._current_writer += 1
            new_writer = FrameWriter(self, self._current_writer)
            dropped = self._append_end() if not self._at_break and not self._closed else None
            self._changed.notify_all()
        if dropped is not None:
            self._notify(dropped)
        return new_writer

    def put(
        self,
        frame: Frame,
        wait: bool = False,
        timeout_seconds: float | None = None,
        writer: int | None = None,
    ) -> bool:
        """Put a frame; False if the slot is closed or belongs to a newer writer.

        wait: first wait until the slot is empty, for up to `timeout_seconds`, by default without limit.
        writer: number of the calling `FrameWriter`; None if there is only one.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(
                    lambda: not self._waiting or not self._accepts(writer), timeout_seconds
                )
            if not self._accepts(writer):
                return False
            dropped = False
            if self._waiting and isinstance(self._waiting[-1], Frame):
                self._waiting.pop()
                dropped = self._count_drop()
            self._waiting.append(frame)
            self._at_break = False
        self._notify(dropped)
        return True

    def end(self, writer: int | None = None) -> None:
        """Mark a break after the frames so far. A no-op if no frame came since the last one."""
        with self._changed:
            if not self._accepts(writer) or self._at_break:
                return
            dropped = self._append_end()
        self._notify(dropped)

    def close(self) -> None:
        """Accept no more frames. Remaining items, and an end, can still be taken; a waiting `put` returns."""
        dropped = False
        with self._changed:
            if self._closed:
                return
            if not self._at_break:
                dropped = self._append_end()
            self._closed = True
            self._changed.notify_all()
        self._notify(dropped)

    def take(self) -> Frame | EndOfStream | None:
        """Remove and return the next item, or None. Never waits."""
        with self._changed:
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item

    def _accepts(self, writer: int | None) -> bool:
        return not self._closed and writer in (None, self._current_writer)

    def _append_end(self) -> bool:
        self._at_break = True
        ends = [item for item in self._waiting if isinstance(item, EndOfStream)]
        if not ends:
            self._waiting.append(EndOfStream(self.cam_id))
            return False
        # A whole connection began and ended before its frames were taken: one break is enough.
        if isinstance(self._waiting[-1], Frame):
            self._waiting.pop()
            return self._count_drop()
        return False

    def _count_drop(self) -> bool:
        self._dropped += 1
        return True

    def _notify(self, dropped: bool) -> None:
        """Called outside the lock, because callbacks may call back."""
        if dropped:
            self._observer.skipped(self.cam_id, "busy")
        if self._on_ready is not None:
            self._on_ready()


class FrameWriter:
    """The right to write to a slot, until the slot is handed to another writer."""

    def __init__(self, slot: LatestFrame, number: int) -> None:
        self._slot = slot
        self._number = number

    def put(self, frame: Frame, wait: bool = False, timeout_seconds: float | None = None) -> bool:
        """See `LatestFrame.put`."""
        return self._slot.put(frame, wait, timeout_seconds, self._number)

    def end(self) -> None:
        """See `LatestFrame.end`."""
        self._slot.end(self._number)
