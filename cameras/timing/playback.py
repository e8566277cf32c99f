"""Plays a recording at its own speed."""

import threading
import time

MAX_DELAY_SECONDS = 1.0
"""A recording that falls behind by more continues from there instead of catching up."""

MIN_EVENT_WAIT_SECONDS = 0.1
"""Longer waits end when the camera is stopped; shorter ones sleep, which costs half as much."""


class Playback:
    """Waits until each frame is due, or until `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._zero: float | None = None

    def wait_until_due(self, media_time: float) -> float:
        """Wait until this frame is due.

        Returns the delay in seconds by which the rest is played later: 0 unless the recording fell behind.
        """
        now = time.monotonic()
        if self._zero is None:
            self._zero = now - media_time
        late = now - (self._zero + media_time)
        if late > MAX_DELAY_SECONDS:
            self._zero += late
            return late
        if late < -MIN_EVENT_WAIT_SECONDS:
            self._stop.wait(-late)
        elif late < 0:
            time.sleep(-late)
        return 0.0
