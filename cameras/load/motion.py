"""Whether anything moves in front of a camera, judged from the brightness alone, in half a millisecond.

The gate saves the detector's work on scenes where nothing happens. Missing somebody costs a visit, looking
once too often costs some milliseconds, so every doubt is decided for looking.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Scene

GRID_WIDTH = 160
"""Width of the picture that is compared; a face of 40 px in full HD is still three of its pixels wide."""

MIN_CHANGE = 4.0
"""Grey levels (of 255) by which a spot must differ, however quiet the camera is."""

MAX_NOISE = 3.0
"""Grey levels; more is not believed to be noise, or a picture that moves as a whole would hide in it."""

NOISE_SIGMAS = 7.0
"""So many standard deviations of the noise are no noise any more."""

MIN_CELLS = 3
"""So many neighbouring spots must differ; noise hits single ones."""

MEMORY_SECONDS = 0.7
"""The background follows the scene with this time constant: daylight is slower, people are faster. Where
somebody has left, it shows their shadow for three times as long."""

HOLD_SECONDS = 1.0
"""The scene is taken as moving for so long after the last change: somebody may have stopped for a moment."""

SKIP_SECONDS = 0.25
"""So long after a change the picture is not compared again."""

RECHECK_SECONDS = 5.0
"""However still it is, a look is due again after so long if the picture is not what it was at the last one:
somebody may have come too slowly to be noticed."""

RECHECK_CHANGE = 2.0
"""Grey levels by which spots differ then. Noise counts, too: where it hides somebody, one has to look."""

MAX_STILL_SECONDS = 30.0
"""And after so long even if nothing at all has changed."""

_MEDIAN_TO_SIGMA = 1.4826 / math.sqrt(2)  # of the difference of two equally noisy pictures


Grid = NDArray[np.float32]


class MotionGate:
    """Watches one camera. Give it every frame that might be analysed, in order."""

    def __init__(self, memory_seconds: float = MEMORY_SECONDS) -> None:
        self._memory_seconds = memory_seconds
        self._background: Grid | None = None
        self._previous: Grid | None = None
        self._noise = 0.0
        self._frames = 0
        self._at = 0.0
        self._moved_at = 0.0
        self._rechecked_at = 0.0
        self._analysed_at = 0.0
        self._analysed: Grid | None = None
        self._empty: Grid | None = None

    def scene(self, luma: NDArray[np.uint8], at_seconds: float) -> Scene:
        """What goes on in this frame: whether something moves or has just moved, or a look is due.

        luma: (height, width) uint8. at_seconds: media time, or any clock that grows with the frames.
        """
        if self._previous is not None and 0 <= at_seconds - self._moved_at < SKIP_SECONDS:
            return Scene.MOVING
        if self.moves(luma, at_seconds):
            self._moved_at = at_seconds
        moving = at_seconds - self._moved_at < HOLD_SECONDS
        if not moving and not self._is_recheck_due(at_seconds):
            return Scene.STILL
        self._analysed, self._analysed_at, self._rechecked_at = self._previous, at_seconds, at_seconds
        return Scene.MOVING if moving else Scene.DUE

    def _is_recheck_due(self, at_seconds: float) -> bool:
        if (
            at_seconds - self._rechecked_at < RECHECK_SECONDS
            or self._previous is None
            or self._analysed is None
        ):
            return False
        self._rechecked_at = at_seconds
        changed = _exceeds(
            self._previous - self._analysed * _gain(self._previous, self._analysed), RECHECK_CHANGE
        )
        return changed or at_seconds - self._analysed_at >= MAX_STILL_SECONDS

    def moves(self, luma: NDArray[np.uint8], at_seconds: float) -> bool:
        """Whether something moves in this frame, compared with those previous; True for the first one."""
        grid = _grid(luma)
        if self._background is None or self._previous is None or self._background.shape != grid.shape:
            self._background, self._previous = grid, grid
            self._at, self._frames = at_seconds, 1
            return True
        moving = self._differs(grid, self._previous, self._background)
        self._frames += 1
        # At first the plain average, which is rid of the noise soonest.
        share = max(1 - math.exp(-max(0.0, at_seconds - self._at) / self._memory_seconds), 1 / self._frames)
        self._background = self._background + np.float32(share) * (grid - self._background)
        self._previous, self._at = grid, at_seconds
        return moving

    def remember_empty(self) -> None:
        """The picture that `moves` was asked about last shows the scene with nobody in it."""
        self._empty = self._previous

    def is_empty(self, luma: NDArray[np.uint8]) -> bool:
        """Whether the scene looks as it did then; False where nobody knows. Changes nothing."""
        grid = _grid(luma)
        if self._empty is None or self._empty.shape != grid.shape:
            return False
        return not _exceeds(grid - self._empty * _gain(grid, self._empty), self._min_change)

    @property
    def _min_change(self) -> float:
        return max(MIN_CHANGE, NOISE_SIGMAS * self._noise)

    def _differs(self, grid: Grid, previous: Grid, background: Grid) -> bool:
        step = _median(np.abs(grid - previous))
        self._noise += 0.1 * (min(MAX_NOISE, step * _MEDIAN_TO_SIGMA) - self._noise)
        change = grid - background * _gain(grid, background)
        return _exceeds(change, self._min_change)


def _gain(grid: Grid, previous: Grid) -> np.float32:
    """Daylight and the camera's exposure scale everything by the same factor; that alone is no person."""
    return np.float32(min(2.0, max(0.5, _median(grid) / max(8.0, _median(previous)))))


def _exceeds(change: Grid, least: float) -> bool:
    """Whether neighbouring spots changed by more than this many grey levels."""
    spots = (np.abs(change) > least).astype(np.uint8)
    if not spots.any():
        return False
    _, _, found, _ = cv2.connectedComponentsWithStats(spots, connectivity=8)
    return bool(found[1:, cv2.CC_STAT_AREA].max() >= MIN_CELLS)


def _grid(luma: NDArray[np.uint8]) -> Grid:
    """A spot for each square of pixels, the mean of nine of them that lie evenly in it, smoothed.

    Added up from views: to shrink the whole picture takes three times as long as all the rest of the gate.
    Whole rows first, which lie together in memory.
    """
    height, width = luma.shape
    side = max(1, min(height, round(width / GRID_WIDTH)))
    rows, columns = height // side, width // side
    inside = luma[: rows * side, : columns * side]
    places = sorted({third * side // 3 for third in range(3)})
    lines = np.zeros((rows, inside.shape[1]), dtype=np.uint16)
    for place in places:
        lines += inside[place::side]
    total = np.zeros((rows, columns), dtype=np.uint16)
    for place in places:
        total += lines[:, place::side]
    grid = total.astype(np.float32) / np.float32(len(places) ** 2)
    return np.asarray(cv2.blur(grid, (3, 3)), dtype=np.float32)


def _median(grid: Grid) -> float:
    """Of every second spot each way; the others say the same, in four times the time."""
    few = grid[::2, ::2].ravel()
    return float(np.partition(few, few.size // 2)[few.size // 2])
