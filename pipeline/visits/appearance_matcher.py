"""Checks that a face at the position of a track is still the same face.

The tracker compares positions. If a person leaves and uncovers another one, or two people cross, the position
stays the same while the face changes. Grey thumbnails are cheap to compare in every frame; facens are
compared only if the thumbnails differ.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Detector
from pipeline.faces.facen import confidence
from pipeline.faces.quality import assess
from pipeline.tracking.appearance_cache import face_thumbnail
from pipeline.tracking.tracker import AppearanceCheck, Track
from pipeline.types import Detection, Frame
from pipeline.visits.poster import Poster, facen_of
from pipeline.visits.visit_shots import FaceCrop
from pipeline.visits.visits import OngoingVisit, Visits

_MIN_SCORE = -2.0
"""Minimum quality score of both pictures for a comparison of facens. The facen of a face that is half covered
or cut off by the edge of the frame matches nobody's."""


class AppearanceMatcher:
    """Compares the faces of one camera with those of its tracks. Not thread-safe."""

    def __init__(
        self, visits: Visits, poster: Poster, near_detector: Detector | None, threshold: float
    ) -> None:
        """`threshold`: confidence below which two good pictures taken within seconds show two people."""
        self._visits = visits
        self._poster = poster
        self._near_detector = near_detector
        self._threshold = threshold

    def check(self, frame: Frame) -> AppearanceCheck:
        """The check for detections of this frame."""
        return lambda track, found: self._is_alike(track, found, frame)

    def _is_alike(self, track: Track, found: Detection, frame: Frame) -> bool:
        visit = self._visits.visit_of(track)
        if visit is None:
            return True
        luma = frame.pixels.luma()
        now = face_thumbnail(luma, found)
        is_same = None if visit.appearance.matches(now) else self._is_same_person(visit, luma, found, frame)
        if is_same is None:
            visit.appearance.update(now)
        elif is_same:
            visit.appearance.confirm(now)
        return is_same is not False

    def _is_same_person(
        self, visit: OngoingVisit, luma: NDArray[np.uint8], found: Detection, frame: Frame
    ) -> bool | None:
        """Compare facens, at the cost of a conversion and one or two embeddings; None if the pictures are too
        poor."""
        known = visit.shots.best_crop()
        if known is None or not known.whole or known.score < _MIN_SCORE:
            return None
        if assess(luma, found).score < _MIN_SCORE:
            return None
        if self._near_detector is not None:
            found = visit.refine(self._near_detector, luma, found)
        now = FaceCrop.from_frame(frame.pixels.bgr(), found.landmarks, _MIN_SCORE, frame.media_time)
        if not now.whole:
            return None
        self._poster.embed([known, now])
        return confidence(float(facen_of(known) @ facen_of(now))) >= self._threshold
