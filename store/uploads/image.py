"""A picture as callers pass it to the context: encoded bytes, or an array."""

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from pipeline.errors import PictureError, PicturesBusyError
from pipeline.limits import MAX_PIXELS
from pipeline.pictures import decode as pictures
from pipeline.types import Picture, Rectangle
from store.errors import ImageError, ImagesBusyError

_COPY_QUALITY = 95
"""JPEG quality of a copy without metadata."""


class Image:
    """A picture, decoded and encoded lazily.

    `source` is an encoded picture (JPEG, PNG, …), whose bytes are kept, or an array of shape (height, width,
    3), uint8, BGR; a grey array of shape (height, width) becomes BGR.

    `max_pixels` is checked before pixels are allocated. Default: 64 million, until a method such as
    `ServerFaces.upload` sets its own limit with `limit_pixels`.

    Raises:
        ImageError: the source is neither of these, cannot be decoded, or has too many pixels.
    """

    def __init__(self, source: bytes | Picture, max_pixels: int | None = None) -> None:
        self._has_own_limit = max_pixels is not None
        self._max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
        self._encoded = source if isinstance(source, bytes) else None
        if self._encoded == b"":
            raise ImageError("a picture was expected, but there are no bytes")
        if not isinstance(source, bytes):
            with as_image_error():
                self.pixels = pictures.check_array(source, self._max_pixels)

    def limit_pixels(self, max_pixels: int) -> None:
        """Set the limit, unless the picture was created with one. ImageError if the picture exceeds it."""
        if self._has_own_limit:
            return
        self._max_pixels = max_pixels
        if "pixels" in self.__dict__:  # otherwise checked when they are decoded
            with as_image_error():
                pictures.check_array(self.pixels, max_pixels)

    @cached_property
    def pixels(self) -> Picture:
        """Shape (height, width, 3), uint8, BGR, rotated by the picture's EXIF orientation."""
        return decode(self.encoded, self._max_pixels)

    @cached_property
    def encoded(self) -> bytes:
        """The source's bytes; for an array, a JPEG of quality 90. ImageError if it is too large for
        JPEG."""
        with as_image_error():
            return self._encoded if self._encoded is not None else pictures.jpeg(self.pixels)

    def without_metadata(self) -> "Image":
        """The pixels as a new JPEG, upright: without EXIF, XMP, comments, thumbnails and trailing data."""
        with as_image_error():
            return Image(pictures.jpeg(self.pixels, _COPY_QUALITY), self._max_pixels)

    @cached_property
    def md5(self) -> str:
        """md5 of the encoded picture, hexadecimal; the `photo_hash` of its faces."""
        return hashlib.md5(self.encoded, usedforsecurity=False).hexdigest()

    @property
    def content_type(self) -> str:
        """The media type of `encoded`, from its first bytes."""
        for start, media_type in _MEDIA_TYPES.items():
            if self.encoded.startswith(start):
                return media_type
        if _AVIF.match(self.encoded):
            return "image/avif"
        return "application/octet-stream"

    def crop(self, bbox: Rectangle) -> Picture:
        """The part of the picture inside the box. ImageError if they do not overlap."""
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
        with as_image_error():
            return pictures.jpeg(self.crop(bbox))


_MEDIA_TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
    b"GIF8": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
_AVIF = re.compile(rb"....ftypavi[fs]", re.DOTALL)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """The pixels of an encoded picture, BGR. ImageError for invalid, truncated and too large pictures."""
    with as_image_error():
        return pictures.decode(data, max_pixels)


@contextmanager
def as_image_error() -> Iterator[None]:
    try:
        yield
    except PictureError as error:
        raise ImageError(str(error)) from error
    except PicturesBusyError as error:
        raise ImagesBusyError(str(error)) from error
