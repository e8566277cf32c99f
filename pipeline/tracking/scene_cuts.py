"""Detects cuts: frames whose whole picture differs from the previous one.

An edited recording changes its scene, a camera moves to another preset, or a light is switched. Faces at the
same position before and after a cut may belong to different people, so all tracks end there.

Small grey pictures are compared cell by cell. In 13 real recordings, one of them of a moving street crowd, at
most 40 % of the cells changed within half a second. Between different scenes, 70 % and more changed. Fewer
change if two scenes have the same backdrop; then the appearance of the face decides
(`pipeline.visits.appearance_matcher`).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIZE = (32, 18)
"""Width and height of the grey picture, in cells."""

_MIN_CHANGE = 16
"""Minimum difference in brightness of a changed cell; noise and compression stay below it."""

_MAX_GAP_SECONDS = 0.6
"""Maximum time between the two frames; within a longer time, daylight and exposure may change as much."""

_MIN_CHANGED_SHARE = 0.6
"""Minimum share of changed cells of a cut."""


class CutDetector:
    """Compares each frame of one camera with the previous one."""

    def __init__(self) -> None:
        self._last: tuple[float, NDArray[np.int16]] | None = None

    def update(self, luma: NDArray[np.uint8], now: float) -> bool:
        """Whether there is a cut between the previous frame and this one. `luma`: (height, width); `now`:
        media time."""
        cells = cv2.resize(luma, _SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
        last, self._last = self._last, (now, cells)
        if last is None or now - last[0] > _MAX_GAP_SECONDS:
            return False
        return float((np.abs(cells - last[1]) >= _MIN_CHANGE).mean()) >= _MIN_CHANGED_SHARE

    def restart(self) -> None:
        """Forget the previous frame."""
        self._last = None
