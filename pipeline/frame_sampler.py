"""Selects frames at an even rate."""

import math

EARLY_SECONDS = 0.01
"""Tolerance for jitter: a frame this early still counts for its slot."""


class FrameSampler:
    """Selects frames of one camera by their media time, in order. The rate may change between frames."""

    def __init__(self) -> None:
        self._beat = -math.inf
        """Due time of the frame that was selected last."""

    def is_due(self, media_time: float, per_second: float) -> bool:
        """Whether a frame with this media time is due."""
        return media_time + EARLY_SECONDS >= self._beat + 1 / per_second

    def record(self, media_time: float, per_second: float) -> None:
        """Records a selected frame. A delay of less than one frame does not shift the next due time."""
        due = self._beat + 1 / per_second
        self._beat = due if media_time < due + 1 / per_second else media_time

    def restart(self) -> None:
        """Makes the next frame due."""
        self._beat = -math.inf
