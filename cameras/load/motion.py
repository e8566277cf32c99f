"""Whether anything moves in front of a camera, judged from the brightness alone, in half a millisecond.

The gate saves the detector's work on scenes where nothing happens. Missing somebody costs a visit, looking
once too often costs some milliseconds, so every doubt is decided for looking.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Scene

SMALL_WIDTH_PX = 160
"""Width of the picture that is compared; a face of 40 px in full HD is still three of its pixels wide."""

LEAST_CHANGE = 4.0
"""Grey levels (of 255) by which a spot must differ, however quiet the camera is."""

LARGEST_NOISE = 3.0
"""Grey levels; more is not believed to be noise, or a picture that moves as a whole would hide in it."""

NOISES = 7.0
"""So many standard deviations of the noise are no noise any more."""

SPOTS = 3
"""So many neighbouring spots must differ; noise hits single ones."""

MEMORY_SECONDS = 0.7
"""The background follows the scene with this time constant: daylight is slower, people are faster. Where
somebody has left, it shows their shadow for three times as long."""

HOLD_SECONDS = 1.0
"""The scene is taken as moving for so long after the last change: somebody may have stopped for a moment."""

CERTAIN_SECONDS = 0.25
"""So long after a change the picture is not compared again."""

LOOK_SECONDS = 5.0
"""However still it is, a look is due again after so long if the picture is not what it was at the last one:
somebody may have come too slowly to be noticed."""

LOOK_CHANGE = 2.0
"""Grey levels by which spots differ then. Noise counts, too: where it hides somebody, one has to look."""

LONGEST_SECONDS = 30.0
"""And after so long even if nothing at all has changed."""

_MEDIAN_TO_SIGMA = 1.4826 / math.sqrt(2)  # of the difference of two equally noisy pictures


Small = NDArray[np.float32]


class MotionGate:
    """Watches one camera. Give it every frame that might be analysed, in order."""

    def __init__(self, memory_seconds: float = MEMORY_SECONDS) -> None:
        self._memory_seconds = memory_seconds
        self._background: Small | None = None
        self._before: Small | None = None
        self._noise = 0.0
        self._frames = 0
        self._at = 0.0
        self._moved_at = 0.0
        self._asked_at = 0.0
        self._looked_at = 0.0
        self._looked: Small | None = None
        self._empty: Small | None = None

    def scene(self, luma: NDArray[np.uint8], at_seconds: float) -> Scene:
        """What goes on in this frame: whether something moves or has just moved, or a look is due.

        luma: (height, width) uint8. at_seconds: media time, or any clock that grows with the frames.
        """
        if self._before is not None and 0 <= at_seconds - self._moved_at < CERTAIN_SECONDS:
            return Scene.MOVING
        if self.moves(luma, at_seconds):
            self._moved_at = at_seconds
        moving = at_seconds - self._moved_at < HOLD_SECONDS
        if not moving and not self._look_is_due(at_seconds):
            return Scene.STILL
        self._looked, self._looked_at, self._asked_at = self._before, at_seconds, at_seconds
        return Scene.MOVING if moving else Scene.DUE

    def _look_is_due(self, at_seconds: float) -> bool:
        if at_seconds - self._asked_at < LOOK_SECONDS or self._before is None or self._looked is None:
            return False
        self._asked_at = at_seconds
        changed = _stand_out(self._before - self._looked * _gain(self._before, self._looked), LOOK_CHANGE)
        return changed or at_seconds - self._looked_at >= LONGEST_SECONDS

    def moves(self, luma: NDArray[np.uint8], at_seconds: float) -> bool:
        """Whether something moves in this frame, compared with those before; True for the first one."""
        small = _small(luma)
        if self._background is None or self._before is None or self._background.shape != small.shape:
            self._background, self._before = small, small
            self._at, self._frames = at_seconds, 1
            return True
        moving = self._differs(small, self._before, self._background)
        self._frames += 1
        # At first the plain average, which is rid of the noise soonest.
        share = max(1 - math.exp(-max(0.0, at_seconds - self._at) / self._memory_seconds), 1 / self._frames)
        self._background = self._background + np.float32(share) * (small - self._background)
        self._before, self._at = small, at_seconds
        return moving

    def remember_empty(self) -> None:
        """The picture that `moves` was asked about last shows the scene with nobody in it."""
        self._empty = self._before

    def is_empty(self, luma: NDArray[np.uint8]) -> bool:
        """Whether the scene looks as it did then; False where nobody knows. Changes nothing."""
        small = _small(luma)
        if self._empty is None or self._empty.shape != small.shape:
            return False
        return not _stand_out(small - self._empty * _gain(small, self._empty), self._least_change)

    @property
    def _least_change(self) -> float:
        return max(LEAST_CHANGE, NOISES * self._noise)

    def _differs(self, small: Small, before: Small, background: Small) -> bool:
        step = _median(np.abs(small - before))
        self._noise += 0.1 * (min(LARGEST_NOISE, step * _MEDIAN_TO_SIGMA) - self._noise)
        change = small - background * _gain(small, background)
        return _stand_out(change, self._least_change)


def _gain(small: Small, before: Small) -> np.float32:
    """Daylight and the camera's exposure scale everything by the same factor; that alone is no person."""
    return np.float32(min(2.0, max(0.5, _median(small) / max(8.0, _median(before)))))


def _stand_out(change: Small, least: float) -> bool:
    """Whether neighbouring spots changed by more than this many grey levels."""
    spots = (np.abs(change) > least).astype(np.uint8)
    if not spots.any():
        return False
    _, _, found, _ = cv2.connectedComponentsWithStats(spots, connectivity=8)
    return bool(found[1:, cv2.CC_STAT_AREA].max() >= SPOTS)


def _small(luma: NDArray[np.uint8]) -> Small:
    """A spot for each square of pixels, the mean of nine of them that lie evenly in it, smoothed.

    Added up from views: to shrink the whole picture takes three times as long as all the rest of the gate.
    Whole rows first, which lie together in memory.
    """
    height, width = luma.shape
    side = max(1, min(height, round(width / SMALL_WIDTH_PX)))
    rows, columns = height // side, width // side
    inside = luma[: rows * side, : columns * side]
    places = sorted({third * side // 3 for third in range(3)})
    lines = np.zeros((rows, inside.shape[1]), dtype=np.uint16)
    for place in places:
        lines += inside[place::side]
    total = np.zeros((rows, columns), dtype=np.uint16)
    for place in places:
        total += lines[:, place::side]
    small = total.astype(np.float32) / np.float32(len(places) ** 2)
    return np.asarray(cv2.blur(small, (3, 3)), dtype=np.float32)


def _median(small: Small) -> float:
    """Of every second spot each way; the others say the same, in four times the time."""
    few = small[::2, ::2].ravel()
    return float(np.partition(few, few.size // 2)[few.size // 2])
