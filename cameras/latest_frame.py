"""Where a camera's thread leaves its newest frame, and the analysis thread finds it.

The newest frame wins: a slow analysis never holds up a camera, and every frame that it missed is counted.
A break in the stream is never lost, so that tracks are not continued over it.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cameras.observer import CameraObserver, UnobservedCamera
from pipeline.types import Frame


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """Between the frames before and after it lies a break: tracks in progress end here."""

    cam_id: str


class LatestFrame:
    """Room for one frame of one camera. One thread puts, one takes.

    The observer hears of each frame that was replaced before anybody took it. on_ready is called when there
    is something to take, on the thread that put it there.
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
        # At most a frame, an end, and a frame after it: an analysis that hangs must not fill the memory.
        self._waiting: deque[Frame | EndOfStream] = deque()
        self._closed = False
        self._dropped = 0
        self._at_break = True

    @property
    def dropped(self) -> int:
        """Frames that were replaced before anybody took them."""
        with self._changed:
            return self._dropped

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    @property
    def waiting(self) -> int:
        """How much there is to take."""
        with self._changed:
            return len(self._waiting)

    def put(self, frame: Frame, wait: bool = False, timeout_seconds: float | None = None) -> bool:
        """Leave a frame. With `wait`, first wait until the one before was taken, for ever or for a while.
        False once closed."""
        dropped = False
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._waiting or self._closed, timeout_seconds)
            if self._closed:
                return False
            if self._waiting and isinstance(self._waiting[-1], Frame):
                self._waiting.pop()
                dropped = self._count_drop()
            self._waiting.append(frame)
            self._at_break = False
        self._notify(dropped)
        return True

    def end(self) -> None:
        """Mark a break after the frames so far. Nothing happens where no frame came since the last one."""
        with self._changed:
            if self._closed or self._at_break:
                return
            dropped = self._append_end()
        self._notify(dropped)

    def close(self) -> None:
        """No more frames. What is there can still be taken, and an end after it; a waiting `put` gives up."""
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
        """What comes next, or None. Never waits."""
        with self._changed:
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item

    def _append_end(self) -> bool:
        self._at_break = True
        ends = [item for item in self._waiting if isinstance(item, EndOfStream)]
        if not ends:
            self._waiting.append(EndOfStream(self.cam_id))
            return False
        # A whole connection came and went unseen: one break says as much as two.
        if isinstance(self._waiting[-1], Frame):
            self._waiting.pop()
            return self._count_drop()
        return False

    def _count_drop(self) -> bool:
        self._dropped += 1
        return True

    def _notify(self, dropped: bool) -> None:
        """Outside the lock, so that whoever is told may look into the slot."""
        if dropped:
            self._observer.skipped(self.cam_id, "busy")
        if self._on_ready is not None:
            self._on_ready()
