"""What a face looked like, small and grey: enough to notice that another one may be in its place."""

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.alignment import ALIGNED_SIZE, align
from pipeline.types import Detection

FaceThumbnail = NDArray[np.float32]
"""A face in grey, 20 × 20, with mean 0 and variance 1: the mean product of two is their correlation."""

_SIDE = 20
"""More of it would be noise and landmarks that tremble."""

_CHANGED = 0.75
"""Correlation below which it may be another face."""

_CONFIRMED = 3
"""A face that is turned or half hidden comes back to a few looks again and again."""

_CORE = slice(ALIGNED_SIZE // 8, -(ALIGNED_SIZE // 8))


@dataclass(slots=True)
class AppearanceCache:
    """The last look of a face, and those that the facens have confirmed, so that they are asked once."""

    _last: FaceThumbnail | None = None
    _confirmed: deque[FaceThumbnail] = field(default_factory=lambda: deque(maxlen=_CONFIRMED))

    def matches(self, look: FaceThumbnail) -> bool:
        """Whether the face looks as it did; True where it was never seen."""
        if self._last is None:
            return True
        return any(float((one * look).mean()) >= _CHANGED for one in (self._last, *self._confirmed))

    def update(self, look: FaceThumbnail) -> None:
        """It looks so now."""
        self._last = look

    def confirm(self, look: FaceThumbnail) -> None:
        """It looks so now, and the facens say that it is the same face."""
        self._last = look
        self._confirmed.append(look)


def face_thumbnail(luma: NDArray[np.uint8], face: Detection) -> FaceThumbnail:
    """The face in a picture given by its brightness, (height, width) uint8."""
    core = align(luma, face.landmarks)[_CORE, _CORE]
    small = cv2.resize(core, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray((small - small.mean()) / max(float(small.std()), 1.0), dtype=np.float32)
