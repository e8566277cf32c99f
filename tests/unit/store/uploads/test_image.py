"""`Image`: pictures as callers pass them to the context."""

import hashlib
import struct
import zlib

import cv2
import numpy as np
import pytest

from pipeline.types import Rectangle
from store.errors import ImageError
from store.uploads.image import Image
from tests.sightings import photo


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims this size, with almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_keeps_encoded_bytes_as_they_are() -> None:
    """Encoded pictures keep their bytes, and `md5` is the hash of these."""
    image = Image(photo())
    assert image.encoded == photo()
    assert image.md5 == hashlib.md5(photo(), usedforsecurity=False).hexdigest()
    assert image.content_type == "image/jpeg"
    assert image.pixels.shape == (120, 160, 3)


def test_encodes_an_array_as_jpeg() -> None:
    """An array becomes a JPEG with the same size and, within 4 levels, the same pixels."""
    pixels = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    image = Image(pixels)
    assert image.content_type == "image/jpeg"
    back = cv2.imdecode(np.frombuffer(image.encoded, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back.astype(int) - pixels).max() <= 4


def test_decodes_only_when_pixels_are_needed() -> None:
    """Bytes that are no picture can be hashed; only access to the pixels fails."""
    image = Image(b"no picture")
    assert len(image.md5) == 32
    with pytest.raises(ImageError, match="not a picture"):
        _ = image.pixels


@pytest.mark.parametrize(
    "box", [Rectangle(10, 20, 50, 60), Rectangle(-30.5, -10, 20.2, 15.9), Rectangle(150, 100, 900, 900)]
)
def test_thumbnail_is_clipped_to_the_picture(box: Rectangle) -> None:
    """A thumbnail shows the part of the box inside the picture, rounded out to whole pixels."""
    image = Image(photo())
    thumbnail = cv2.imdecode(np.frombuffer(image.thumbnail(box), np.uint8), cv2.IMREAD_COLOR)
    left, top = max(0, int(np.floor(box.left))), max(0, int(np.floor(box.top)))
    right, bottom = min(160, int(np.ceil(box.right))), min(120, int(np.ceil(box.bottom)))
    assert thumbnail.shape == (bottom - top, right - left, 3)
    assert abs(float(thumbnail.mean()) - float(image.pixels[top:bottom, left:right].mean())) < 3


@pytest.mark.parametrize(
    "box", [Rectangle(200, 0, 300, 50), Rectangle(10, 10, 10, 40), Rectangle(0, 0, float("nan"), 5)]
)
def test_a_box_outside_has_no_thumbnail(box: Rectangle) -> None:
    """A box outside the picture, empty or not finite is an ImageError that names it."""
    with pytest.raises(ImageError, match="box"):
        Image(photo()).thumbnail(box)


@pytest.mark.parametrize(
    "source",
    [
        b"",
        "text",
        None,
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), float),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_refuses_invalid_sources(source: object) -> None:
    """Empty bytes, other types and arrays of another shape are refused at once."""
    with pytest.raises(ImageError):
        Image(source)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_refuses_a_truncated_picture(suffix: str) -> None:
    """A truncated picture is an error, not a partly grey picture."""
    noise = np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    whole = cv2.imencode(suffix, noise)[1].tobytes()
    for length in (30, len(whole) // 2):
        with pytest.raises(ImageError):
            _ = Image(whole[:length]).pixels


def test_a_picture_over_the_limit_is_refused_by_its_header() -> None:
    """A header of 30,000 × 30,000 pixels is refused before decoding; the limit can be set."""
    bomb = png_header(30_000, 30_000)
    with pytest.raises(ImageError, match="limit"):
        Image(bomb).thumbnail(Rectangle(0, 0, 10, 10))
    small = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    assert Image(small, max_pixels=2000).pixels.shape == (40, 50, 3)
    with pytest.raises(ImageError, match="1999"):
        _ = Image(small, max_pixels=1999).pixels
    with pytest.raises(ImageError, match="1999"):
        Image(np.zeros((40, 50, 3), np.uint8), max_pixels=1999)


def test_hold_to_sets_the_limit_unless_the_picture_has_one() -> None:
    """`hold_to` checks an array at once and encoded pictures before decoding; an own limit stays."""
    small = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    taken = Image(small)
    taken.limit_pixels(1999)
    with pytest.raises(ImageError, match="limit is 1999"):
        _ = taken.pixels
    with pytest.raises(ImageError, match="limit is 1999"):
        Image(np.zeros((40, 50, 3), np.uint8)).limit_pixels(1999)
    own = Image(small, max_pixels=2000)
    own.limit_pixels(1999)
    assert own.pixels.shape == (40, 50, 3)


def test_a_picture_too_wide_for_a_jpeg_is_an_error() -> None:
    """An array 70,000 pixels wide exceeds JPEG's 65,535: every use of the encoded picture is an
    ImageError."""
    long = Image(np.zeros((1, 70_000, 3), np.uint8))
    for encode in (
        lambda: long.encoded,
        lambda: long.md5,
        lambda: long.thumbnail(Rectangle(0, 0, 70_000, 1)),
    ):
        with pytest.raises(ImageError, match="70000"):
            encode()


def test_a_grey_array_becomes_bgr() -> None:
    """As for the extractor: the grey value is repeated in three channels."""
    assert Image(np.full((4, 5), 7, np.uint8)).pixels.tolist() == [[[7] * 3] * 5] * 4
