"""Selects the shots from which a visit's facen is computed: a few good ones, some time apart.

The mean facen of several shots has less noise from sensor, compression and landmarks than a single one. Shots
that do not agree reveal a track that changed from one face to another, or a false detection.

A frame takes megabytes, so it is held only until the end of its interval; then the aligned face is cropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.alignment import align, is_whole
from pipeline.faces.facen import confidence, normalise
from pipeline.types import Facen, Picture
from pipeline.visits.best_shot import BETTER_BY, Shot

INTERVAL_SECONDS = 0.4
"""Minimum time between shots; closer shots have the same noise."""


@dataclass(slots=True, eq=False)
class FaceCrop:
    """An aligned face, 112 × 112 BGR, and its facen once it is embedded."""

    face: Picture
    whole: bool
    """Whether the face lies completely inside the frame."""
    score: float
    media_time: float
    facen: Facen | None = None

    @classmethod
    def from_frame(
        cls, picture: Picture, landmarks: NDArray[np.float32], score: float, media_time: float
    ) -> "FaceCrop":
        """Crop the face with these (5, 2) landmarks from a BGR frame."""
        height, width = picture.shape[:2]
        return cls(align(picture, landmarks), is_whole(landmarks, width, height), score, media_time)


class VisitShots:
    """The best shots of one visit, at most one per interval. Times are seconds of media time."""

    def __init__(self, max_crops: int) -> None:
        self.max_crops = max_crops
        self._held: Shot | None = None
        """The best shot of the current interval."""
        self._held_until = 0.0
        self._crops: list[FaceCrop] = []

    @property
    def crops(self) -> Sequence[FaceCrop]:
        """The kept crops, the best first."""
        return self._crops

    def best_crop(self) -> FaceCrop | None:
        """The best kept crop."""
        return self._crops[0] if self._crops else None

    def wants(self, score: float) -> bool:
        """Whether a shot with this quality score would be kept."""
        if self._held is not None:
            return score > self._held.quality.score + BETTER_BY
        return len(self._crops) < self.max_crops or score > self._crops[-1].score + BETTER_BY

    def hold(self, shot: Shot) -> None:
        """Hold a wanted shot until its interval ends."""
        if self._held is None:
            self._held_until = shot.frame.media_time + INTERVAL_SECONDS
        self._held = shot

    def due(self, time: float) -> Shot | None:
        """Release the held shot if its interval has ended; the caller crops it."""
        return self.release() if self._held is not None and time >= self._held_until else None

    def release(self) -> Shot | None:
        """Release the held shot, even before its interval has ended; the caller crops it."""
        shot, self._held = self._held, None
        return shot

    def keep(self, crop: FaceCrop) -> None:
        """Keep the crop of a shot; above the limit, the poorest crop is dropped."""
        self._crops = sorted([*self._crops, crop], key=lambda kept: -kept.score)[: self.max_crops]


@dataclass(frozen=True, slots=True, eq=False)
class VisitFacen:
    """The combined facen of several shots."""

    facen: Facen
    shots: int
    """Number of shots that agree with the posted one, including the posted one."""
    agreement: float
    """Lowest confidence between the posted shot and an agreeing one; 1 for a single shot."""
    disagreeing: int
    """Number of shots that do not agree with the posted one."""


def visit_facen(facens: NDArray[np.float32], scores: Sequence[float], threshold: float) -> VisitFacen:
    """The mean of the facens, (n, size), that agree with the first one, which is the posted shot's.

    The mean is weighted by quality: the weight halves when the quality score is lower by 1. `threshold`:
    confidence from which two shots agree.
    """
    alike = np.asarray(confidence((facens @ facens[0]).astype(np.float32)))
    agree = alike >= threshold
    agree[0] = True
    weights = np.exp2(np.asarray(scores, np.float32))[agree, np.newaxis]
    mean = normalise(np.asarray((facens[agree] * weights).sum(axis=0), np.float32))
    return VisitFacen(
        mean,
        int(agree.sum()),
        min(1.0, float(alike[agree].min())) if agree.sum() > 1 else 1.0,
        int((~agree).sum()),
    )
