"""Motion gate: detects motion from luma alone, in half a millisecond.

The detector does not run on still scenes. A missed motion costs a visit, a needless detection milliseconds,
so every doubt counts as motion.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Scene

GRID_WIDTH = 160
"""Width of the compared grid, in cells; a face of 40 px in full HD is three cells wide."""

MIN_CHANGE = 4.0
"""Minimum change of a cell, in grey levels of 255, whatever the noise."""

MAX_NOISE = 3.0
"""Upper limit of the noise estimate, grey levels; without it, a moving camera would be taken for noise."""

NOISE_SIGMAS = 7.0
"""Motion threshold in noise standard deviations."""

MIN_CELLS = 3
"""Minimum size of a changed region; noise changes single cells."""

MEMORY_SECONDS = 0.7
"""Time constant of the background model: slower than people, faster than daylight. A person who left counts
as motion for three times this long."""

HOLD_SECONDS = 1.0
"""How long a scene counts as moving after the last change: a person may pause."""

SKIP_SECONDS = 0.25
"""After a change, how long frames count as moving without a comparison."""

RECHECK_SECONDS = 5.0
"""Interval at which a still scene is compared with the last analysed frame: a person may have come too slowly
to be noticed."""

RECHECK_CHANGE = 2.0
"""Minimum change of a cell in a recheck, in grey levels. Not raised for noise, because noise may hide a
person."""

MAX_STILL_SECONDS = 30.0
"""A still scene is analysed at least this often, changed or not."""

_MEDIAN_TO_SIGMA = 1.4826 / math.sqrt(2)  # of the difference of two equally noisy pictures


Grid = NDArray[np.float32]


class MotionGate:
    """Motion gate of one camera. Needs every frame that might be analysed, in order."""

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
        """Classify a frame: moving (or moved a moment ago), due for an analysis, or still.

        luma: (height, width) uint8. at_seconds: media time, or any monotonic clock.
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
        """Whether this frame shows motion against the background; True for the first one."""
        grid = _grid(luma)
        if self._background is None or self._previous is None or self._background.shape != grid.shape:
            self._background, self._previous = grid, grid
            self._at, self._frames = at_seconds, 1
            return True
        moving = self._differs(grid, self._previous, self._background)
        self._frames += 1
        # The first frames are averaged with equal weights, which removes noise fastest.
        share = max(1 - math.exp(-max(0.0, at_seconds - self._at) / self._memory_seconds), 1 / self._frames)
        self._background = self._background + np.float32(share) * (grid - self._background)
        self._previous, self._at = grid, at_seconds
        return moving

    def remember_empty(self) -> None:
        """Remember the last frame passed to `moves` as the empty scene."""
        self._empty = self._previous

    def is_empty(self, luma: NDArray[np.uint8]) -> bool:
        """Whether the frame shows the remembered empty scene; False if none is remembered. Changes
        nothing."""
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
    """Ratio of the median brightness: daylight and exposure scale all cells alike and are no motion."""
    return np.float32(min(2.0, max(0.5, _median(grid) / max(8.0, _median(previous)))))


def _exceeds(change: Grid, threshold: float) -> bool:
    """Whether a region of at least MIN_CELLS cells changed by more than `threshold` grey levels."""
    cells = (np.abs(change) > threshold).astype(np.uint8)
    if not cells.any():
        return False
    _, _, found, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
    return bool(found[1:, cv2.CC_STAT_AREA].max() >= MIN_CELLS)


def _grid(luma: NDArray[np.uint8]) -> Grid:
    """Downscale to GRID_WIDTH columns: each cell is the mean of nine evenly spaced pixels, then blurred.

    Summed from strided views, rows first: a full resize takes three times as long as the rest of the gate.
    """
    height, width = luma.shape
    side = max(1, min(height, round(width / GRID_WIDTH)))
    rows, columns = height // side, width // side
    inside = luma[: rows * side, : columns * side]
    offsets = sorted({third * side // 3 for third in range(3)})
    row_sums = np.zeros((rows, inside.shape[1]), dtype=np.uint16)
    for offset in offsets:
        row_sums += inside[offset::side]
    total = np.zeros((rows, columns), dtype=np.uint16)
    for offset in offsets:
        total += row_sums[:, offset::side]
    grid = total.astype(np.float32) / np.float32(len(offsets) ** 2)
    return np.asarray(cv2.blur(grid, (3, 3)), dtype=np.float32)


def _median(grid: Grid) -> float:
    """Median of every second cell of every second row: accurate enough, in a quarter of the time."""
    sampled = grid[::2, ::2].ravel()
    return float(np.partition(sampled, sampled.size // 2)[sampled.size // 2])
