"""Selects frames at an even rate, below the frame rate of the stream."""

import math

EARLY_SECONDS = 0.01
"""Tolerance for jitter: a frame that is early by this is still due."""


class FrameSampler:
    """Selects frames of one camera by their media time, in order. The rate may change between frames."""

    def __init__(self) -> None:
        self._last_due = -math.inf
        """Due time of the last selected frame."""

    def is_due(self, media_time: float, per_second: float) -> bool:
        """Whether a frame with this media time is due."""
        return media_time + EARLY_SECONDS >= self._last_due + 1 / per_second

    def record(self, media_time: float, per_second: float) -> None:
        """Record a selected frame. A delay of less than one interval does not shift the next due time."""
        due = self._last_due + 1 / per_second
        self._last_due = due if media_time < due + 1 / per_second else media_time

    def restart(self) -> None:
        """Make the next frame due."""
        self._last_due = -math.inf
