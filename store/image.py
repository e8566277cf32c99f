"""A picture as the context's callers hand it over: encoded bytes, or an array."""

import hashlib
import math
from functools import cached_property

import cv2
import numpy as np

from pipeline.types import Picture, Rectangle
from store.errors import ImageError

JPEG_QUALITY = 90
_NO_PICTURE = "{} bytes are no picture; pass the whole of a JPEG or PNG"


class Image:
    """A picture, decoded and encoded only when somebody asks.

    `source` is an encoded picture (JPEG, PNG, …), kept byte by byte, or an array of shape (height, width, 3),
    uint8, BGR. ImageError where it is neither, or cannot be decoded.
    """

    def __init__(self, source: bytes | Picture) -> None:
        if isinstance(source, bytes):
            if not source:
                raise ImageError(_NO_PICTURE.format(0))
            self._encoded: bytes | None = source
        else:
            self._encoded = None
            self.pixels = _checked(source)

    @cached_property
    def pixels(self) -> Picture:
        """(height, width, 3) uint8, BGR, turned as the picture's own orientation tag says."""
        return decode(self.encoded)

    @cached_property
    def encoded(self) -> bytes:
        """The bytes it came as; of an array, a JPEG of quality 90."""
        return self._encoded if self._encoded is not None else encode_jpeg(self.pixels)

    @cached_property
    def md5(self) -> str:
        """md5 of the encoded picture, hexadecimal; the `photo_hash` of its faces."""
        return hashlib.md5(self.encoded, usedforsecurity=False).hexdigest()

    @property
    def content_type(self) -> str:
        """The media type of `encoded`, told from its first bytes."""
        for start, media_type in _MEDIA_TYPES.items():
            if self.encoded.startswith(start):
                return media_type
        return "application/octet-stream"

    def crop(self, bbox: Rectangle) -> Picture:
        """The part of the picture inside the box; ImageError where nothing of it is inside."""
        if not all(math.isfinite(side) for side in bbox):
            raise ImageError(f"a box has finite sides, not {tuple(bbox)}")
        height, width = self.pixels.shape[:2]
        left, top = max(0, math.floor(bbox.left)), max(0, math.floor(bbox.top))
        right, bottom = min(width, math.ceil(bbox.right)), min(height, math.ceil(bbox.bottom))
        if left >= right or top >= bottom:
            raise ImageError(f"the box {tuple(bbox)} lies outside the picture of {width}×{height}")
        return self.pixels[top:bottom, left:right]

    def thumbnail(self, bbox: Rectangle) -> bytes:
        """The part inside the box as a JPEG of quality 90."""
        return encode_jpeg(self.crop(bbox))


_MEDIA_TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
}


def decode(data: bytes) -> Picture:
    """The pixels of an encoded picture, BGR. ImageError where the bytes are no picture that OpenCV reads."""
    if not data:
        raise ImageError(_NO_PICTURE.format(0))
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # OpenCV's own limit on the number of pixels, for one
        raise ImageError(f"a picture of {len(data)} bytes cannot be decoded: {error.err or error}") from error
    if pixels is None:
        raise ImageError(_NO_PICTURE.format(len(data)))
    return np.asarray(pixels, dtype=np.uint8)


def encode_jpeg(pixels: Picture) -> bytes:
    """A JPEG of quality 90."""
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ImageError(f"a picture of shape {pixels.shape} cannot be encoded as JPEG")
    return data.tobytes()


def _checked(pixels: Picture) -> Picture:
    if not isinstance(pixels, np.ndarray):
        raise ImageError(f"a picture is bytes or an array, not {type(pixels).__name__}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ImageError(
            f"a picture has the shape (height, width, 3) and uint8, not {pixels.shape} and {pixels.dtype}"
        )
    return pixels
