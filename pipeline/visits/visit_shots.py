"""The shots that make a visit's facen: a few good ones, some time apart.

The mean facen of several shots has less noise of sensor, compression and landmarks than one. Shots that do
not agree reveal a track that changed from one face to another, or a false detection.

A frame takes megabytes, so it is held only until its interval ends; then the aligned face is cropped from it.
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
"""Minimum distance of shots; closer ones share their noise."""


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
        """Crops the face with these (5, 2) landmarks from a BGR frame."""
        height, width = picture.shape[:2]
        return cls(align(picture, landmarks), is_whole(landmarks, width, height), score, media_time)


class VisitShots:
    """The best shots of one visit, at most one per interval. Times are seconds of media time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Shot | None = None
        self._until = 0.0
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
        if self._open is not None:
            return score > self._open.quality.score + BETTER_BY
        return len(self._crops) < self.most or score > self._crops[-1].score + BETTER_BY

    def hold(self, shot: Shot) -> None:
        """Holds a wanted shot until its interval ends."""
        if self._open is None:
            self._until = shot.frame.media_time + INTERVAL_SECONDS
        self._open = shot

    def due(self, time: float) -> Shot | None:
        """The shot to crop now, because its interval has ended."""
        return self.last() if self._open is not None and time >= self._until else None

    def last(self) -> Shot | None:
        """The held shot, to be cropped now in any case."""
        shot, self._open = self._open, None
        return shot

    def keep(self, cut: FaceCrop) -> None:
        """Keeps the crop of a shot; drops the poorest above the limit."""
        self._crops = sorted([*self._crops, cut], key=lambda one: -one.score)[: self.most]


@dataclass(frozen=True, slots=True, eq=False)
class VisitFacen:
    """The combined facen of several shots."""

    facen: Facen
    shots: int
    """Number of shots in the facen: those that agree with the posted one, itself included."""
    agreement: float
    """Lowest confidence between the posted shot and these; 1 for a single shot."""
    others: int
    """Number of shots that do not agree with the posted one."""


def visit_facen(facens: NDArray[np.float32], scores: Sequence[float], threshold: float) -> VisitFacen:
    """The quality-weighted mean of those facens, (n, size), that agree with the first, the posted one.

    A shot weighs half of one whose quality score is better by 1. `threshold` is the confidence from which
    two shots agree.
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
