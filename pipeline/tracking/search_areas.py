"""Where in a frame to look for faces: everywhere, or for a moment only where they were a moment ago.

The detector's time grows with the area it looks at. It gives the same answers for a part of a picture as for
the whole, because the parts begin where its coarsest grid has a line; only at their edges, where it sees
nothing beyond, they may differ, and the faces lie away from them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.types import Picture, Rectangle, bounding_box

_GRID = 64
"""Parts begin and end at multiples of this, pixels of the detector's picture. Its coarsest grid is 32; few
different sizes spare the runtime's memory."""

_WORTH = 0.6
"""A part that has more than this share of the picture is not worth it."""

_ROOM = 1.0
"""Beyond a face's box, of its longer side: so far may it have gone since it was seen."""


class SearchArea(NamedTuple):
    """Of the detector's picture, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def crop(self, picture: Picture) -> Picture:
        """A view of it."""
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
        """What to look at of the detector's picture, which has this width and height; None for all of it.

        `faces` are where faces were seen in the frame before, in pixels of the frame, none where one of them
        is lost; `scale` is how many pixels of the detector's picture are one of the frame's.
        """
        if faces and 0 <= now - self._whole_at < self._whole_seconds:
            wide = bounding_box([face.widened(_ROOM) for face in faces])
            left, right = _lines(wide.left * scale, wide.right * scale, width)
            top, bottom = _lines(wide.top * scale, wide.bottom * scale, height)
            if (right - left) * (bottom - top) <= _WORTH * width * height:
                return SearchArea(left, top, right, bottom)
        self._whole_at = now
        return None


def _lines(low: float, high: float, length: int) -> tuple[int, int]:
    """From the grid's line before to the one behind, within the picture."""
    first = min(max(0, math.floor(low / _GRID)), (length - 1) // _GRID)
    last = max(math.ceil(high / _GRID), first + 1)
    return first * _GRID, min(last * _GRID, length)
