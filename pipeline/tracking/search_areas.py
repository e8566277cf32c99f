"""The area of a frame in which to search for faces: all of it, or briefly only the surroundings of known
faces.

The detector's time grows with the area. Areas are aligned to its coarsest grid, so that it gives the same
results as for the whole picture except near the edges, where there are no faces.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.types import Picture, Rectangle, bounding_box

_GRID = 64
"""Alignment of areas in pixels of the detector's picture. Its coarsest stride is 32; fewer distinct sizes
save memory in the runtime."""

_MAX_SHARE = 0.6
"""Maximum share of the picture; a larger area saves too little time."""

_MARGIN = 1.0
"""Margin around a face box as a share of its longer side: the face may have moved."""


class SearchArea(NamedTuple):
    """A rectangle in pixels of the detector's picture."""

    left: int
    top: int
    right: int
    bottom: int

    def crop(self, picture: Picture) -> Picture:
        """A view of the area."""
        return picture[self.top : self.bottom, self.left : self.right]


class SearchAreas:
    """Search areas of one camera.

    The whole picture is searched every `full_search_seconds` of media time: other faces may have appeared.
    """

    def __init__(self, full_search_seconds: float) -> None:
        self._whole_seconds = full_search_seconds
        self._whole_at = -math.inf

    def next_area(
        self, faces: Sequence[Rectangle], width: int, height: int, scale: float, now: float
    ) -> SearchArea | None:
        """The area to search in the detector's picture of this width and height; None for the whole picture.

        `faces` are the boxes of the previous frame in pixels of the frame, empty if one of them is lost;
        `scale` is the size of the detector's picture over that of the frame.
        """
        if faces and 0 <= now - self._whole_at < self._whole_seconds:
            wide = bounding_box([face.widened(_MARGIN) for face in faces])
            left, right = _snapped(wide.left * scale, wide.right * scale, width)
            top, bottom = _snapped(wide.top * scale, wide.bottom * scale, height)
            if (right - left) * (bottom - top) <= _MAX_SHARE * width * height:
                return SearchArea(left, top, right, bottom)
        self._whole_at = now
        return None


def _snapped(low: float, high: float, length: int) -> tuple[int, int]:
    """The interval extended to the grid, within the picture."""
    first = min(max(0, math.floor(low / _GRID)), (length - 1) // _GRID)
    last = max(math.ceil(high / _GRID), first + 1)
    return first * _GRID, min(last * _GRID, length)
