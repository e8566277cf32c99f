"""Orientation and pixel aspect ratio: how to show a decoded frame upright and with square pixels."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

MAX_PIXEL_RATIO = 4
"""Maximum ratio of a pixel's sides. Pixels with a larger declared ratio are taken to be square."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to turn a picture: first transpose it, then mirror it."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right are exchanged."""
    flipped: bool = False
    """Top and bottom are exchanged."""

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture upright; a view."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        if self.mirrored:
            picture = picture[:, ::-1]
        return picture[::-1] if self.flipped else picture


UPRIGHT = Orientation()


def _unknown_type(cls: type[Type], value: Any) -> Type:  # noqa: ANN401 - an integer, which the stubs reject
    member: Type = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    return member


# PyAV's enumeration lacks newer types, such as EXIF; each frame with such data would raise ValueError.
Type._missing_ = classmethod(_unknown_type)  # type: ignore[assignment] # mypy takes it for a method


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation in the stream's display matrix, rounded to quarter turns."""
    # PyAV's stubs declare `side_data` as a mapping by name, but it is a sequence.
    all_data = cast("Iterable[SideData]", frame.side_data)
    data = next((data for data in all_data if data.type is Type.DISPLAYMATRIX), None)
    if data is None:
        return UPRIGHT
    # Rows (a, b, u), (c, d, v), (x, y, w): a pixel (x, y) is shown at (ax + cy, bx + dy), as in ISO 14496-12.
    a, b, _, c, d = np.frombuffer(memoryview(data), np.int32, 5).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def square_size(width: int, height: int, aspect_ratio: Fraction | None) -> tuple[int, int]:
    """The size of the picture with square pixels. One side is enlarged, so that no detail is lost.

    aspect_ratio: of a pixel, width to height; None or 0 if unknown.
    """
    if not aspect_ratio or not Fraction(1, MAX_PIXEL_RATIO) <= aspect_ratio <= MAX_PIXEL_RATIO:
        return width, height
    if aspect_ratio > 1:
        return round(width * aspect_ratio), height
    return width, round(height / aspect_ratio)
