"""Chooses the area of a frame to search for faces: the whole frame, or between full searches only the
surroundings of known faces.

The detector's time grows with the area. Areas are aligned to its coarsest grid, so that the results are the
same as for the whole picture, except near the edges of the area, where there are no faces.
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

    The whole picture is searched every `full_search_seconds` of media time, because new faces may have
    appeared.
    """

    def __init__(self, full_search_seconds: float) -> None:
        self._full_search_seconds = full_search_seconds
        self._last_full_search = -math.inf

    def next_area(
        self, faces: Sequence[Rectangle], width: int, height: int, scale: float, now: float
    ) -> SearchArea | None:
        """The area to search in the detector's picture of this width and height; None for the whole picture.

        `faces`: boxes of the known faces, in pixels of the frame; empty if a face is lost. `scale`: size of
        the detector's picture divided by that of the frame.
        """
        if faces and 0 <= now - self._last_full_search < self._full_search_seconds:
            wide = bounding_box([face.widened(_MARGIN) for face in faces])
            left, right = _snap_to_grid(wide.left * scale, wide.right * scale, width)
            top, bottom = _snap_to_grid(wide.top * scale, wide.bottom * scale, height)
            if (right - left) * (bottom - top) <= _MAX_SHARE * width * height:
                return SearchArea(left, top, right, bottom)
        self._last_full_search = now
        return None


def _snap_to_grid(low: float, high: float, length: int) -> tuple[int, int]:
    """Extend an interval to the grid, within the picture."""
    first = min(max(0, math.floor(low / _GRID)), (length - 1) // _GRID)
    last = max(math.ceil(high / _GRID), first + 1)
    return first * _GRID, min(last * _GRID, length)
