"""Regions of the picture in which faces are tracked (`rot`) or posted (`roi`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RegionError

FRACTIONS = "numbers are fractions of the picture, 0 to 1"

Outline = tuple[tuple[float, float], ...]
"""Corners (x, y) in fractions of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class Region:
    """The union of outlines; without outlines the whole picture."""

    outlines: tuple[Outline, ...] = ()

    @classmethod
    def from_shapes(cls, shapes: Sequence[Sequence[object]]) -> "Region":
        """Parse rectangles [left, top, right, bottom] and polygons [[x, y], ...], in fractions of the
        picture.

        Raises:
            RegionError: names the shape and what is wrong with it.
        """
        return cls(tuple(_outline(number, shape) for number, shape in enumerate(shapes, 1)))

    def contains(self, x: float, y: float) -> bool:
        """Whether the point (x, y), in fractions of the picture, lies in the region or on its edge."""
        return not self.outlines or any(
            cv2.pointPolygonTest(_corners(outline), (x, y), measureDist=False) >= 0
            for outline in self.outlines
        )


EVERYWHERE = Region()


def _corners(outline: Outline) -> NDArray[np.float32]:
    return np.array(outline, dtype=np.float32)


def _outline(number: int, shape: object) -> Outline:
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise RegionError(f"shape {number} is {shape!r}; give [left, top, right, bottom] or [[x, y], ...]")
    if len(shape) == 4 and all(isinstance(value, int | float) for value in shape):
        if not all(_is_fraction(value) for value in shape):
            raise RegionError(f"rectangle {number} is {list(shape)}; {FRACTIONS}")
        left, top, right, bottom = (float(value) for value in shape)
        if left >= right or top >= bottom:
            raise RegionError(f"rectangle {number} is {list(shape)}; left < right and top < bottom must hold")
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    corners = [_corner(number, point) for point in shape]
    if len(corners) < 3:
        raise RegionError(f"polygon {number} has {len(corners)} corners; it needs at least 3")
    return tuple(corners)


def _corner(number: int, point: object) -> tuple[float, float]:
    if isinstance(point, Sequence) and len(point) == 2:
        x, y = point
        if _is_fraction(x) and _is_fraction(y):
            return float(x), float(y)
    raise RegionError(f"shape {number} has {point!r}; {FRACTIONS}")


def _is_fraction(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
