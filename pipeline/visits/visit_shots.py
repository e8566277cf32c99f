"""The shots of a visit that its facen is made of: a few good ones, some time apart.

One picture of a face has the noise of the sensor, of the compression and of the landmarks in it; the mean of
several has less of it. It also shows whether they are of one face: a face that was confused with another one
on its way, and what only looks like a face for a moment, do not agree with themselves.

A frame takes megabytes and is held only until its interval is over; then the aligned face is cut out of it.
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
"""Shots nearer to each other than this are nearly the same picture, noise and all."""


@dataclass(slots=True, eq=False)
class FaceCrop:
    """An aligned face, 112 × 112 BGR, and its facen once it is known."""

    face: Picture
    whole: bool
    """Whether none of it was outside the frame."""
    score: float
    media_time: float
    facen: Facen | None = None

    @classmethod
    def from_frame(
        cls, picture: Picture, landmarks: NDArray[np.float32], score: float, media_time: float
    ) -> "FaceCrop":
        """The face with these (5, 2) landmarks, cut out of a frame in BGR."""
        height, width = picture.shape[:2]
        return cls(align(picture, landmarks), is_whole(landmarks, width, height), score, media_time)


class VisitShots:
    """The best few shots of one visit, at most one in each interval. Times are media time, seconds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Shot | None = None
        self._until = 0.0
        self._cuts: list[FaceCrop] = []

    @property
    def cuts(self) -> Sequence[FaceCrop]:
        """What was cut, the best first."""
        return self._cuts

    def best_crop(self) -> FaceCrop | None:
        """The best of those that were cut already."""
        return self._cuts[0] if self._cuts else None

    def wants(self, score: float) -> bool:
        """Whether a shot with this quality score, taken now, would be one of them."""
        if self._open is not None:
            return score > self._open.quality.score + BETTER_BY
        return len(self._cuts) < self.most or score > self._cuts[-1].score + BETTER_BY

    def hold(self, shot: Shot) -> None:
        """Holds the shot, which must be wanted, until its interval is over."""
        if self._open is None:
            self._until = shot.frame.media_time + INTERVAL_SECONDS
        self._open = shot

    def due(self, time: float) -> Shot | None:
        """The shot to be cut and kept now, since its interval is over."""
        return self.last() if self._open is not None and time >= self._until else None

    def last(self) -> Shot | None:
        """The shot to be cut and kept now, whether its interval is over or not."""
        shot, self._open = self._open, None
        return shot

    def keep(self, cut: FaceCrop) -> None:
        """Keeps what was cut of a shot, in the place of the poorest if there are enough."""
        self._cuts = sorted([*self._cuts, cut], key=lambda one: -one.score)[: self.most]


@dataclass(frozen=True, slots=True, eq=False)
class VisitFacen:
    """What several shots say together."""

    facen: Facen
    shots: int
    """How many agree with the posted one, itself included; only these are in the facen."""
    agreement: float
    """The lowest confidence between the posted shot and one of these; 1 where it is alone."""
    others: int
    """How many shots of the visit do not agree with the posted one."""


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
