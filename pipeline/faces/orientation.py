"""Whether a camera hangs upside down, or on its side: faces are found only when the picture is turned.

Looked at now and then, while something moves and no good face is in view, in a small picture turned by
quarters: the detector is surest where a face stands upright (see `pipeline.faces.refine`).
"""

import cv2
import numpy as np

from pipeline.faces.detector import Detector
from pipeline.types import Picture

EVERY_SECONDS = 3.0
LOOKS = 3
"""So many looks in a row have to say the same; one may be a face on a T-shirt."""

_SIDE = 320
_SURE = 0.75
"""The detector's score from which a turned face counts."""
_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


class OrientationMonitor:
    """Watches one camera."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._next_look = 0.0
        self._votes = (0, 0)
        self.degrees = 0
        """How far, clockwise, faces are turned: 0, 90, 180 or 270."""

    def update(self, picture: Picture, now: float, *, upright: bool) -> None:
        """Takes a picture, BGR, of the media time `now`. `upright`: a good face is in view, all is well."""
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
        """By how many quarters the surest face is turned; None where there is none."""
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
