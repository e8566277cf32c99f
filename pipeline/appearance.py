"""Whether a face in the place of another one is still the same face.

A tracker knows places. Where somebody leaves and another one stands behind them, or two cross, the place
stays and the face changes. A look at every face is cheap when it is a small grey one: from one frame to the
next it hardly changes, and where it does, the facens are asked.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIZE, align
from pipeline.detector import Detector
from pipeline.facen import confidence
from pipeline.look import look_closer
from pipeline.poster import Poster, facen_of
from pipeline.quality import assess
from pipeline.tracker import Alike, Track
from pipeline.types import Detection, Frame
from pipeline.visit_shots import Cut
from pipeline.visits import Visit, Visits

_SIDE = 20
"""Of the small grey face; more of it would be noise and landmarks that tremble."""

_CHANGED = 0.75
"""Correlation of two small faces below which it may be another one."""

_TELLING_SCORE = -2.0
"""The quality score that both pictures need for their facens to say that they are two people's: a face that
comes into the picture, or from behind somebody, half covered, is like nobody. Nor do they tell where a face
is cut off by the edge of the frame."""

_CORE = slice(ALIGNED_SIZE // 8, -(ALIGNED_SIZE // 8))


class Appearance:
    """Compares the faces of one camera with those of its tracks. Not thread-safe."""

    def __init__(
        self, visits: Visits, poster: Poster, near_detector: Detector | None, threshold: float
    ) -> None:
        """`threshold`: below this confidence two good pictures taken within seconds are of two people."""
        self._visits = visits
        self._poster = poster
        self._near_detector = near_detector
        self._threshold = threshold

    def of(self, frame: Frame) -> Alike:
        """Whether a face of this frame looks like that of a track."""
        return lambda track, found: self._is_alike(track, found, frame)

    def _is_alike(self, track: Track, found: Detection, frame: Frame) -> bool:
        visit = self._visits.of(track)
        if visit is None:
            return True
        luma = frame.pixels.luma()
        now = _small(luma, found)
        before, visit.small = visit.small, now
        if before is None or float((before * now).mean()) >= _CHANGED:
            return True
        if self._is_same_person(visit, luma, found, frame):
            return True
        visit.small = before
        return False

    def _is_same_person(self, visit: Visit, luma: NDArray[np.uint8], found: Detection, frame: Frame) -> bool:
        """By the facens, which takes a conversion and two faces to embed; True where these cannot tell."""
        known = visit.shots.best_cut()
        if known is None or known.score < _TELLING_SCORE or assess(luma, found).score < _TELLING_SCORE:
            return True
        if self._near_detector is not None:
            found = look_closer(self._near_detector, luma, found)
        now = Cut.out_of(frame.pixels.bgr(), found.landmarks, _TELLING_SCORE, frame.media_time)
        if not (known.whole and now.whole):
            return True
        self._poster.embed([known, now])
        return confidence(float(facen_of(known) @ facen_of(now))) >= self._threshold


def _small(luma: NDArray[np.uint8], face: Detection) -> NDArray[np.float32]:
    """The face in grey, 20 × 20, with mean 0 and variance 1: the mean product of two is their correlation."""
    core = align(luma, face.landmarks)[_CORE, _CORE]
    small = cv2.resize(core, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray((small - small.mean()) / max(float(small.std()), 1.0), dtype=np.float32)
