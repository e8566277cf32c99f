"""So many frames a second, chosen evenly."""

EARLY_SECONDS = 0.01
"""Frames come a little early or late; that must not cost a whole one."""


class Rate:
    """Chooses among the frames of one camera by their media time, in order."""

    def __init__(self) -> None:
        self._next_due = 0.0

    def is_due(self, media_time: float) -> bool:
        """Whether a frame of this time is wanted."""
        return media_time + EARLY_SECONDS >= self._next_due

    def taken(self, media_time: float, per_second: float) -> None:
        """It was: the next one is due one part of a second later, less what this one was late."""
        self._next_due = max(self._next_due + 1 / per_second, media_time)

    def restart(self) -> None:
        """Whatever comes next is wanted."""
        self._next_due = 0.0
