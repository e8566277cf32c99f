"""Statistics of one camera."""

import threading
import time
from datetime import UTC, datetime

import structlog

from cameras.observer import CameraStatus
from cameras.settings import CameraSettings
from cameras.status.health import Condition
from cameras.stream import StreamInfo

log = structlog.get_logger()

SIZE_SECONDS = 1.5
"""A new picture size counts after this time: a damaged header may give any size until the next header."""


class CameraStats:
    """Statistics of one camera. The camera's thread reports; any thread may read."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._frames_decoded = 0
        self._reconnects = 0
        self._last_frame_at: float | None = None
        """Unix time."""
        self._info: StreamInfo | None = None
        self._measured_fps: float | None = None
        self._size: tuple[int, int] | None = None
        self._frame_size: tuple[int, int] | None = None
        self._new_size: tuple[int, int] | None = None
        self._new_since = 0.0

    def status(self, condition: Condition) -> CameraStatus:
        """Snapshot of the statistics, together with the camera's state."""
        with self._lock:
            info = self._info
            width, height = self._size or (None, None)
            at = self._last_frame_at
            return CameraStatus(
                cam_id=self._settings.id,
                state=condition.state,
                reason=condition.reason,
                detail=condition.detail,
                since=condition.since,
                url=self._settings.masked_url,
                frames_decoded=self._frames_decoded,
                reconnects=self._reconnects,
                last_frame_at=None if at is None else datetime.fromtimestamp(at, UTC),
                width=width,
                height=height,
                fps=(info.fps if info else None) or self._measured_fps,
                codec=info.codec if info else None,
            )

    def connected(self, info: StreamInfo) -> None:
        """A stream is open. Logged if its metadata changed."""
        with self._lock:
            changed, self._info = self._info != info, info
            if info.width and info.height:
                self._size = (info.width, info.height)
        if changed:
            log.info(
                "camera is connected",
                camera=self._settings.id,
                codec=info.codec,
                size=f"{info.width}x{info.height}",
                fps=info.fps,
            )

    def frame(self) -> None:
        """A frame was decoded."""
        # Without the lock: only this thread writes these two fields, and a lock for each frame is expensive.
        self._frames_decoded += 1
        self._last_frame_at = time.time()

    def picture(self, size: tuple[int, int]) -> None:
        """A frame of this width and height goes to the analysis. A new size counts after SIZE_SECONDS."""
        now = time.monotonic()
        with self._lock:
            if size != self._new_size:
                self._new_size, self._new_since = size, now
            before = self._frame_size
            if before not in (None, size) and now - self._new_since < SIZE_SECONDS:
                return
            self._frame_size = self._size = size
        if before not in (None, size):
            shown = f"{size[0]}x{size[1]}"
            log.info("camera changed its picture's size", camera=self._settings.id, size=shown)

    def measured(self, fps: float) -> None:
        """Set the measured frame rate, for streams without metadata."""
        with self._lock:
            self._measured_fps = round(fps, 1)

    def reconnect(self) -> None:
        with self._lock:
            self._reconnects += 1
