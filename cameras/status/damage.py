"""How many of a camera's pictures arrive damaged."""

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 3
"""Looked at together; a loss that is over is forgotten after so long."""

LEAST_SHARE = 0.05
"""So many damaged pictures are worth telling; the alert FacendCameraCorrupt draws the same line."""

LEAST_PICTURES = 2
"""A single damaged picture is an accident."""


@dataclass(slots=True)
class _Second:
    number: int
    whole: int = 0
    damaged: int = 0


class DamageMeter:
    """Counts the pictures of the last seconds. Begins to tell at a share, ends when none is damaged."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._telling = False

    def picture(self, at: float, damaged: bool) -> None:
        """One more packet that gave a picture, or should have. `at`: monotonic seconds."""
        number = int(at)
        if not self._seconds or self._seconds[-1].number != number:
            self._forget(number)
            self._seconds.append(_Second(number))
        self._seconds[-1].damaged += damaged
        self._seconds[-1].whole += not damaged

    def share(self, at: float) -> float:
        """The share of damaged pictures, where it is worth telling; else 0."""
        self._forget(int(at))
        damaged = sum(second.damaged for second in self._seconds)
        share = damaged / max(1, damaged + sum(second.whole for second in self._seconds))
        self._telling = damaged > 0 and (
            self._telling or (share >= LEAST_SHARE and damaged >= LEAST_PICTURES)
        )
        return share if self._telling else 0.0

    def _forget(self, now: int) -> None:
        while self._seconds and now - self._seconds[0].number >= WINDOW_SECONDS:
            self._seconds.popleft()
