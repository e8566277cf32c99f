"""So many frames a second, chosen evenly."""

import math

EARLY_SECONDS = 0.01
"""Frames come a little early or late; that must not cost a whole one."""


class FrameSampler:
    """Chooses among the frames of one camera by their media time, in order. The rate may change from frame to
    frame."""

    def __init__(self) -> None:
        self._beat = -math.inf
        """When the frame that was taken last was due, as near as that is to when it was taken."""

    def is_due(self, media_time: float, per_second: float) -> bool:
        """Whether a frame of this time is wanted."""
        return media_time + EARLY_SECONDS >= self._beat + 1 / per_second

    def record(self, media_time: float, per_second: float) -> None:
        """It was. What it was late, less than a whole frame, does not put off the next one."""
        due = self._beat + 1 / per_second
        self._beat = due if media_time < due + 1 / per_second else media_time

    def restart(self) -> None:
        """Whatever comes next is wanted."""
        self._beat = -math.inf
