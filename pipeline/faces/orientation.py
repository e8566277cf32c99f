"""Detects cameras that are mounted upside down or on their side.

While something moves and no good face is in view, a downscaled frame is periodically searched in four
rotations: the detector score is highest in the rotation in which faces are upright (see
`pipeline.faces.refine`).
"""

import cv2
import numpy as np

from pipeline.faces.detector import Detector
from pipeline.types import Picture

CHECK_INTERVAL_SECONDS = 3.0
MIN_AGREEING_CHECKS = 3
"""Number of consecutive checks that have to agree; a single check may have found a face on a T-shirt."""

_LONG_SIDE_PX = 320
_MIN_SCORE = 0.75
"""Minimum detector score of a rotated face."""
_ROTATIONS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


class OrientationMonitor:
    """Monitors the orientation of one camera."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._next_check = 0.0
        self._votes = (0, 0)
        self.degrees = 0
        """Clockwise rotation of the faces: 0, 90, 180 or 270."""

    def update(self, picture: Picture, now: float, *, upright: bool) -> None:
        """Check a BGR picture at the media time `now`, if a check is due.

        `upright`: a good face is in view, which proves that the camera is mounted upright.
        """
        if upright:
            self._votes, self.degrees = (0, 0), 0
            return
        if 0 <= self._next_check - now <= CHECK_INTERVAL_SECONDS:
            return
        self._next_check = now + CHECK_INTERVAL_SECONDS
        quarters = self._quarters(picture)
        if quarters is None:
            return
        count = self._votes[1] + 1 if self._votes[0] == quarters else 1
        self._votes = quarters, count
        if count >= MIN_AGREEING_CHECKS:
            self.degrees = 90 * quarters

    def _quarters(self, picture: Picture) -> int | None:
        """Clockwise quarter turns of the face with the highest score; None without a face."""
        height, width = picture.shape[:2]
        factor = min(1.0, _LONG_SIDE_PX / max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        scores = []
        for rotation in _ROTATIONS:
            rotated = small if rotation is None else cv2.rotate(small, rotation)
            faces = self._detector.detect(np.asarray(rotated, dtype=np.uint8))
            scores.append(max((face.score for face in faces), default=0.0))
        return int(np.argmax(scores)) if max(scores) >= _MIN_SCORE else None
