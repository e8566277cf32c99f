"""Detects cameras that are mounted upside down or on their side.

While something moves and no good face is in view, a downscaled frame is searched in four rotations at
intervals: the detector score is highest where faces are upright (see `pipeline.faces.refine`).
"""

import cv2
import numpy as np

from pipeline.faces.detector import Detector
from pipeline.types import Picture

EVERY_SECONDS = 3.0
LOOKS = 3
"""Consecutive checks that have to agree; a single one may have found a face on a T-shirt."""

_SIDE = 320
_SURE = 0.75
"""Minimum detector score of a rotated face."""
_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


class OrientationMonitor:
    """Monitors the orientation of one camera."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._next_look = 0.0
        self._votes = (0, 0)
        self.degrees = 0
        """Clockwise rotation of the faces: 0, 90, 180 or 270."""

    def update(self, picture: Picture, now: float, *, upright: bool) -> None:
        """Checks a BGR picture at the media time `now`. `upright`: a good face is in view, no check is
        needed."""
        if upright:
            self._votes, self.degrees = (0, 0), 0
            return
        if 0 <= self._next_look - now <= EVERY_SECONDS:
            return
        self._next_look = now + EVERY_SECONDS
        quarters = self._quarters(picture)
        if quarters is None:
            return
        count = self._votes[1] + 1 if self._votes[0] == quarters else 1
        self._votes = quarters, count
        if count >= LOOKS:
            self.degrees = 90 * quarters

    def _quarters(self, picture: Picture) -> int | None:
        """Clockwise quarter turns of the face with the highest score; None without a face."""
        height, width = picture.shape[:2]
        factor = min(1.0, _SIDE / max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        scores = []
        for turn in _TURNS:
            turned = small if turn is None else cv2.rotate(small, turn)
            faces = self._detector.detect(np.asarray(turned, dtype=np.uint8))
            scores.append(max((face.score for face in faces), default=0.0))
        return int(np.argmax(scores)) if max(scores) >= _SURE else None
