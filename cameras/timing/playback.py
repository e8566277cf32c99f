"""Paces the frames of a recording in real time."""

import threading
import time

MAX_DELAY_SECONDS = 1.0
"""A recording that falls behind by more does not catch up: the rest is played later."""

MIN_EVENT_WAIT_SECONDS = 0.1
"""Longer waits end when the camera is stopped; shorter ones sleep, which costs half as much."""


class Playback:
    """Maps the media time of a recording to the monotonic clock."""

    def __init__(self) -> None:
        self._zero: float | None = None
        """Monotonic time of media time 0."""

    def schedule(self, media_time: float) -> tuple[float, float]:
        """Seconds until the frame is due, and seconds by which the rest is delayed because the recording fell
        behind; one of them is 0."""
        now = time.monotonic()
        if self._zero is None:
            self._zero = now - media_time
        late = now - (self._zero + media_time)
        if late > MAX_DELAY_SECONDS:
            self._zero += late
            return 0.0, late
        return max(0.0, -late), 0.0


def wait_or_stop(seconds: float, stop: threading.Event) -> None:
    """Wait, but end a long wait when `stop` is set."""
    if seconds > MIN_EVENT_WAIT_SECONDS:
        stop.wait(seconds)
    elif seconds > 0:
        time.sleep(seconds)
