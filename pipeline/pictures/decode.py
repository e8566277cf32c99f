"""Decodes and encodes pictures."""

import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from pipeline.errors import PictureError
from pipeline.pictures.decode_limits import check_structure, decoding_cost
from pipeline.pictures.exif_limits import check_info
from pipeline.pictures.memory_budget import MEMORY
from pipeline.pictures.unsupported_formats import describe_unsupported
from pipeline.types import Picture

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM")
"""Accepted formats. Pillow reads more, some by starting other programs."""

EXPECTED = ", ".join(_FORMATS)

_JPEG_QUALITY = 90
_DEPTHS = (8, 10, 12, 14, 16)
"""Usual bit depths of sensors."""
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes with one channel of more than 8 bits, which its conversion to RGB clips at 255."""
_WHITE_IS_ZERO = 0
"""Value of TIFF's field PhotometricInterpretation."""

_STRIP_PIXELS = 1_000_000
"""Pixels converted to BGR per step."""

_FLIPS: Mapping[object, int | None] = {2: 1, 3: -1, 4: 0, 5: None, 6: 1, 7: -1, 8: 0}
"""By EXIF orientation other than upright: the flip after the transposition, as a code of cv2.flip.
https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.4."""
_TRANSPOSED = (5, 6, 7, 8)


def read(source: bytes | Path | str, max_pixels: int) -> tuple[Picture, bytes]:
    """Read and decode a picture, rotated by its EXIF orientation; also returns its bytes. Raises
    PictureError."""
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
    """Decode a picture after checking its structure and size. Raises PictureError."""
    if not data:
        raise PictureError("a picture was expected, but there are no bytes")
    try:
        check_structure(data)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.width, image.height, max_pixels)
            cost = decoding_cost(image, data)
            return MEMORY.run(cost, lambda: _make_upright(*_decode_pixels(image, data)))
    except UnidentifiedImageError as error:
        known = describe_unsupported(data)
        raise PictureError(
            f"this is {known}" if known else f"these {len(data)} bytes are not a picture; expected {EXPECTED}"
        ) from error
    except Image.DecompressionBombError as error:
        # Pillow's own limit, 179 million pixels, applies in addition to max_pixels.
        raise PictureError(f"the picture is larger than the limit of {max_pixels} pixels") from error
    except PictureError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, cv2.error) as error:
        # Raised by Pillow's decoders on damaged files.
        raise PictureError(f"the picture is damaged or cut short ({error})") from error


def exif_orientation(data: bytes) -> int:
    """The EXIF orientation of a picture, 1 (upright) to 8. 1 without a valid tag.

    Raises:
        PictureError: the data is not a picture.
    """
    check_structure(data)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            tag = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise PictureError(f"the picture is damaged or cut short ({error})") from error
    return tag if isinstance(tag, int) and tag in _FLIPS else 1


def _decode_pixels(image: Image.Image, data: bytes) -> tuple[Picture, object]:
    """The pixels in BGR without rotation, and the orientation tag.

    Needs little memory in addition to the decoder's.
    """
    if image.format == "WEBP" and getattr(image, "n_frames", 1) == 1:
        # Pillow treats even a single frame as an animation, which takes three times as much memory.
        orientation = _orientation(image)
        image.close()
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if decoded is None:
            raise PictureError("the picture is damaged or cut short (WEBP)")
        return np.asarray(decoded, np.uint8), orientation
    image.load()
    orientation = _orientation(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    if image.mode in _DEEP_MODES:
        _scale_to_8_bits(image, pixels)
    else:
        for top, strip in _strips(image):
            rgb = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
            cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR, dst=pixels[top : top + strip.height])
    image.close()
    return pixels, orientation


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Split an image into strips of full width; yields the first row and the strip."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _scale_to_8_bits(image: Image.Image, pixels: Picture) -> None:
    """Write a grey picture with 16 or 32 bits, or floating-point values, into `pixels`, scaled to 8 bits."""
    ends = [_extremes(_values(strip)) for _, strip in _strips(image)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    black, white = _value_range(low, high, whole=image.mode != "F")
    inverted = (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    )
    for top, strip in _strips(image):
        values = np.nan_to_num(_values(strip), nan=black, posinf=white, neginf=black)
        grey = np.clip((values - black) * (255 / (white - black)), 0, 255).round().astype(np.uint8)
        pixels[top : top + strip.height] = (255 - grey if inverted else grey)[..., None]


def _values(strip: Image.Image) -> NDArray[np.float64]:
    return np.asarray(strip).astype(np.float64)


def _extremes(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _value_range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """The values of black and white: the range of the smallest usual bit depth that fits, else the
    extremes."""
    depths = (*(() if whole else (1.0,)), *(2.0**bits - 1 for bits in _DEPTHS))
    white = next((depth for depth in depths if high <= depth), None)
    if low >= 0 and white is not None:
        return 0.0, white
    return low, high if high > low else low + 1


def _orientation(image: Image.Image) -> object:
    check_info(image.info)
    return image.getexif().get(ExifTags.Base.Orientation)


def _make_upright(pixels: Picture, orientation: object) -> Picture:
    """Rotate the picture by its orientation tag."""
    if orientation not in _FLIPS:
        return pixels
    transposed = cv2.transpose(pixels) if orientation in _TRANSPOSED else pixels
    upright = np.asarray(transposed, np.uint8)
    if (flip := _FLIPS[orientation]) is not None:
        cv2.flip(upright, flip, dst=upright)
    return upright


def check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"the picture has {width} × {height} pixels; it needs at least 1 × 1")
    if width * height > max_pixels:
        raise PictureError(f"the picture has {width} × {height} pixels; the limit is {max_pixels} in total")


def check_array(array: object, max_pixels: int) -> Picture:
    """Validate a picture array; a grey array is converted to BGR."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise PictureError(f"a picture is bytes, a path, or a uint8 array, not {kind}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise PictureError(f"a picture array has the shape (height, width, 3), not {array.shape}")
    check_size(array.shape[1], array.shape[0], max_pixels)
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR), np.uint8) if array.ndim == 2 else array


def jpeg(picture: Picture, quality: int = _JPEG_QUALITY) -> bytes:
    return _encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def png(picture: Picture) -> bytes:
    return _encode(".png", picture, [])


def _encode(suffix: str, picture: Picture, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, picture, options)
    if not done:
        raise PictureError(f"OpenCV cannot write a picture of the shape {picture.shape} as {suffix}")
    return bytes(data)
