"""When a camera's thread last did something, and what it waits for."""

import time
from dataclasses import dataclass

from cameras.settings import CameraSettings
from cameras.urls import UrlKind

SILENT_SECONDS = 2.0
"""Nothing for so long is worth a question whether the camera is there, unless it is always that slow."""

USUAL_GAPS = 3
"""So many times as long as usual is not slow, but silent."""

HUNG_SECONDS = 30.0
"""A thread that did nothing for longer than its timeouts allow, and so long on top, hangs."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A thread that waits inside FFmpeg for what does not come."""

    since: float
    """When the attempt began, or the last packet came; monotonic seconds."""
    gave_pictures: bool
    """On this connection."""


class Watchdog:
    """The camera's thread tells it, anybody may ask."""

    def __init__(self, settings: CameraSettings, patient: bool = False) -> None:
        """`patient`: the first attempt is let alone until it gave pictures or failed."""
        self._settings = settings
        self._patient = patient
        self._network = settings.kind in (UrlKind.RTSP, UrlKind.HTTP)
        self._at: float | None = None
        self._listens = self._gave_pictures = False

    def attempt(self) -> None:
        """It begins to open the camera."""
        self.step()
        self._listens, self._gave_pictures = self._network, False

    def opened(self, live: bool) -> None:
        self._listens = self._network and live

    def step(self) -> float:
        """A packet came, or the like; gives the time."""
        self._at = now = time.monotonic()
        return now

    def picture(self) -> None:
        self._gave_pictures, self._patient = True, False

    def rests(self) -> None:
        """It waits for its next attempt."""
        self.step()
        self._listens = self._patient = False

    def waiting(self, usual_gap: float) -> Stall | None:
        """What it waits for, where that takes longer than the camera's usual gap allows; else None."""
        if not self._listens or self._patient or self._at is None:
            return None
        longest = max(SILENT_SECONDS, USUAL_GAPS * usual_gap)
        return Stall(self._at, self._gave_pictures) if time.monotonic() - self._at > longest else None

    def hung_seconds(self) -> float:
        """For how long nothing was done, where that is longer than all timeouts; else 0."""
        if self._at is None:
            return 0.0
        # FFmpeg waits twice: for the answer and the first packets, and after a read's timeout once more.
        settings = self._settings
        longest = 2 * max(settings.connect_timeout_seconds, settings.read_timeout_seconds)
        silent = time.monotonic() - self._at
        return silent if silent > longest + settings.reconnect_max_seconds + HUNG_SECONDS else 0.0
