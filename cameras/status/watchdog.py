"""Detects that a camera's thread stalls or hangs."""

import time
from dataclasses import dataclass

from cameras.settings import CameraSettings
from cameras.urls import UrlKind

SILENT_SECONDS = 2.0
"""Minimum silence that counts as a stall, unless the camera's frames are usually further apart."""

USUAL_GAPS = 3
"""Minimum silence in multiples of the camera's usual gap."""

HUNG_SECONDS = 30.0
"""A thread hangs if it made no progress for its timeouts and this time in addition."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A wait for data inside FFmpeg that takes too long."""

    since: float
    """Start of the attempt, or arrival of the last packet; monotonic seconds."""
    gave_pictures: bool
    """Whether this connection has delivered pictures."""


class Watchdog:
    """Progress of one camera's thread. The thread reports; any thread may read."""

    def __init__(self, settings: CameraSettings, patient: bool = False) -> None:
        """patient: the first attempt does not count as stalled until it delivers pictures or fails."""
        self._settings = settings
        self._patient = patient
        self._network = settings.kind in (UrlKind.RTSP, UrlKind.HTTP)
        self._progress_at: float | None = None
        self._receiving = self._gave_pictures = False

    def connecting(self) -> None:
        """An attempt to open the camera begins."""
        self.progress()
        self._receiving, self._gave_pictures = self._network, False

    def connected(self, live: bool) -> None:
        self._receiving = self._network and live

    def progress(self) -> float:
        """A packet arrived; returns the monotonic time."""
        self._progress_at = now = time.monotonic()
        return now

    def picture(self) -> None:
        self._gave_pictures, self._patient = True, False

    def pausing(self) -> None:
        """The thread pauses before its next attempt."""
        self.progress()
        self._receiving = self._patient = False

    def stall(self, usual_gap: float) -> Stall | None:
        """The stall, if the thread waits longer than the camera's usual gap allows; otherwise None."""
        if not self._receiving or self._patient or self._progress_at is None:
            return None
        limit = max(SILENT_SECONDS, USUAL_GAPS * usual_gap)
        if time.monotonic() - self._progress_at <= limit:
            return None
        return Stall(self._progress_at, self._gave_pictures)

    def hung_seconds(self) -> float:
        """Time without progress if it exceeds all timeouts; otherwise 0."""
        if self._progress_at is None:
            return 0.0
        # FFmpeg waits twice: for the answer and the first packets, and once more after a read timeout.
        settings = self._settings
        timeouts = 2 * max(settings.connect_timeout_seconds, settings.read_timeout_seconds)
        silent = time.monotonic() - self._progress_at
        return silent if silent > timeouts + settings.reconnect_max_seconds + HUNG_SECONDS else 0.0
