"""Playing a recording as fast as it was taken."""

import threading
import time

MAX_DELAY_SECONDS = 1.0
"""A recording that falls behind by more goes on from there instead of hurrying after its own time."""

MIN_EVENT_WAIT_SECONDS = 0.1
"""A wait that has to end when the camera is stopped. To wait for an event costs twice what a sleep does, and
from one frame to the next that adds up."""


class Playback:
    """Waits until each frame is due, or until `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._zero: float | None = None

    def wait_until_due(self, media_time: float) -> float:
        """Wait until this frame is due. Returns the seconds by which the recording fell behind and is now
        played later: 0 unless it was held up."""
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
