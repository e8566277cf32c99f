"""Measures the share of a camera's pictures that arrive damaged."""

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 3
"""Length of the sliding window."""

MIN_SHARE = 0.05
"""Minimum share that is reported; the same as in the alert FacendCameraCorrupt."""

MIN_DAMAGED = 2
"""Minimum number of damaged pictures in the window that is reported."""


@dataclass(slots=True)
class _Second:
    number: int
    whole: int = 0
    damaged: int = 0


class DamageMeter:
    """Counts pictures in a sliding window. Begins to report at MIN_SHARE, and ends when none is damaged."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._reporting = False

    def picture(self, at: float, damaged: bool) -> None:
        """Count a picture. at: monotonic seconds."""
        number = int(at)
        if not self._seconds or self._seconds[-1].number != number:
            self._forget(number)
            self._seconds.append(_Second(number))
        self._seconds[-1].damaged += damaged
        self._seconds[-1].whole += not damaged

    def share(self, at: float) -> float:
        """The share of damaged pictures if it is to be reported; otherwise 0."""
        self._forget(int(at))
        damaged = sum(second.damaged for second in self._seconds)
        share = damaged / max(1, damaged + sum(second.whole for second in self._seconds))
        self._reporting = damaged > 0 and (self._reporting or (share >= MIN_SHARE and damaged >= MIN_DAMAGED))
        return share if self._reporting else 0.0

    def _forget(self, now: int) -> None:
        while self._seconds and now - self._seconds[0].number >= WINDOW_SECONDS:
            self._seconds.popleft()
