"""Remembers small grey thumbnails of a face, to notice when another face may have taken its place."""

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.alignment import ALIGNED_SIZE, align
from pipeline.types import Detection

FaceThumbnail = NDArray[np.float32]
"""A face in grey, 20 × 20, with mean 0 and variance 1. The mean of the product of two thumbnails is their
correlation."""

_SIDE = 20
"""A larger thumbnail would mostly add noise and landmark jitter."""

_MIN_CORRELATION = 0.75
"""Correlation below which the face may be another person's."""

_MAX_CONFIRMED = 3
"""Number of confirmed appearances kept per face: a turning or half-hidden face alternates between a few."""

_CORE = slice(ALIGNED_SIZE // 8, -(ALIGNED_SIZE // 8))


@dataclass(slots=True)
class AppearanceCache:
    """The last appearance of a face, and those that facens have confirmed and that need no further
    comparison."""

    _last: FaceThumbnail | None = None
    _confirmed: deque[FaceThumbnail] = field(default_factory=lambda: deque(maxlen=_MAX_CONFIRMED))

    def matches(self, thumbnail: FaceThumbnail) -> bool:
        """Whether the appearance is known; True if none was seen yet."""
        if self._last is None:
            return True
        known = (self._last, *self._confirmed)
        return any(float((one * thumbnail).mean()) >= _MIN_CORRELATION for one in known)

    def update(self, thumbnail: FaceThumbnail) -> None:
        """Record the current appearance."""
        self._last = thumbnail

    def confirm(self, thumbnail: FaceThumbnail) -> None:
        """Record the current appearance, which a comparison of facens has confirmed as the same face."""
        self._last = thumbnail
        self._confirmed.append(thumbnail)


def face_thumbnail(luma: NDArray[np.uint8], face: Detection) -> FaceThumbnail:
    """The thumbnail of a face in a luma plane, (height, width) uint8."""
    core = align(luma, face.landmarks)[_CORE, _CORE]
    small = cv2.resize(core, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray((small - small.mean()) / max(float(small.std()), 1.0), dtype=np.float32)
