"""Pictures from bytes and files, and into bytes again."""

import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import PictureError
from pipeline.types import Picture

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""What cameras and people send. Pillow could do more, some of it by starting other programs."""

_JPEG_QUALITY = 90


def read(source: bytes | Path | str, max_pixels: int) -> tuple[Picture, bytes]:
    """The picture, upright as its EXIF data says, and its bytes. PictureError says what is wrong with it."""
    if isinstance(source, bytes):
        return decode(source, max_pixels), source
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise PictureError(
            f"the picture {os.fspath(source)} cannot be read: {error.strerror or error}"
        ) from error
    try:
        return decode(data, max_pixels), data
    except PictureError as error:
        raise PictureError(f"{os.fspath(source)}: {error}") from error


def decode(data: bytes, max_pixels: int) -> Picture:
    """The picture in these bytes. Its size is read, and judged, before its pixels are."""
    if not data:
        raise PictureError("a picture was expected, but there are no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.width, image.height, max_pixels)
            rgb = ImageOps.exif_transpose(image).convert("RGB")
            return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{len(data)} bytes that are no picture; expected {', '.join(_FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        # Pillow's own limit, 179 million pixels, holds whatever the caller's is.
        raise PictureError(f"the picture is larger than the limit of {max_pixels} pixels") from error
    except PictureError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error) as error:
        # What Pillow's decoders raise on broken files.
        raise PictureError(f"the picture is damaged or cut short ({error})") from error


def check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"the picture has {width} × {height} pixels; it needs at least 1 × 1")
    if width * height > max_pixels:
        raise PictureError(f"the picture has {width} × {height} pixels; the limit is {max_pixels} altogether")


def check_array(array: object, max_pixels: int) -> Picture:
    """The array, if it is a picture as the pipeline wants them; grey ones become BGR."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise PictureError(f"a picture is bytes, a path, or a uint8 array, not {kind}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise PictureError(f"a picture array has the shape (height, width, 3), not {array.shape}")
    check_size(array.shape[1], array.shape[0], max_pixels)
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR), np.uint8) if array.ndim == 2 else array


def jpeg(picture: Picture) -> bytes:
    """As JPEG, quality 90."""
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def png(picture: Picture) -> bytes:
    return _encoded(".png", picture, [])


def _encoded(suffix: str, picture: Picture, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, picture, options)
    if not done:
        raise PictureError(f"OpenCV cannot write a picture of the shape {picture.shape} as {suffix}")
    return bytes(data)
