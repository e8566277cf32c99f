"""Pictures as the context takes them."""

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
    """A PNG that says it is this large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_keeps_encoded_bytes_as_they_are() -> None:
    """Encoded pictures are stored byte by byte, and hashed as they came."""
    image = Image(photo())
    assert image.encoded == photo()
    assert image.md5 == hashlib.md5(photo(), usedforsecurity=False).hexdigest()
    assert image.content_type == "image/jpeg"
    assert image.pixels.shape == (120, 160, 3)


def test_encodes_an_array_as_jpeg() -> None:
    """An array becomes a JPEG of the same size that shows the same."""
    pixels = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    image = Image(pixels)
    assert image.content_type == "image/jpeg"
    back = cv2.imdecode(np.frombuffer(image.encoded, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back.astype(int) - pixels).max() <= 4


def test_decodes_only_when_pixels_are_needed() -> None:
    """Bytes that are no picture can be hashed; only looking at the pixels fails."""
    image = Image(b"no picture")
    assert len(image.md5) == 32
    with pytest.raises(ImageError, match="no picture"):
        _ = image.pixels


@pytest.mark.parametrize(
    "box", [Rectangle(10, 20, 50, 60), Rectangle(-30.5, -10, 20.2, 15.9), Rectangle(150, 100, 900, 900)]
)
def test_thumbnail_is_the_box_cut_with_the_picture(box: Rectangle) -> None:
    """A thumbnail shows the box's part inside the picture, whole pixels at the edges included."""
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
    """A box with nothing of the picture inside is an error that names box or numbers."""
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
def test_refuses_what_is_no_picture(source: object) -> None:
    """Empty bytes, other types and arrays of another shape are refused at once."""
    with pytest.raises(ImageError):
        Image(source)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_refuses_a_truncated_picture(suffix: str) -> None:
    """Half a picture is an error, not half a picture and grey noise."""
    noise = np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    whole = cv2.imencode(suffix, noise)[1].tobytes()
    for length in (30, len(whole) // 2):
        with pytest.raises(ImageError):
            _ = Image(whole[:length]).pixels


def test_a_picture_over_the_limit_is_refused_by_its_header() -> None:
    """A few bytes that say they are 30,000 × 30,000 pixels take no memory; the limit can be set."""
    bomb = png_header(30_000, 30_000)
    with pytest.raises(ImageError, match="limit"):
        Image(bomb).thumbnail(Rectangle(0, 0, 10, 10))
    small = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    assert Image(small, max_pixels=2000).pixels.shape == (40, 50, 3)
    with pytest.raises(ImageError, match="1999"):
        _ = Image(small, max_pixels=1999).pixels
    with pytest.raises(ImageError, match="1999"):
        Image(np.zeros((40, 50, 3), np.uint8), max_pixels=1999)


def test_who_takes_a_picture_sets_the_limit_unless_it_has_one() -> None:
    """The limit of the taker is looked at before decoding, of an array at once; one of its own stays."""
    small = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    taken = Image(small)
    taken.hold_to(1999)
    with pytest.raises(ImageError, match="limit is 1999"):
        _ = taken.pixels
    with pytest.raises(ImageError, match="limit is 1999"):
        Image(np.zeros((40, 50, 3), np.uint8)).hold_to(1999)
    own = Image(small, max_pixels=2000)
    own.hold_to(1999)
    assert own.pixels.shape == (40, 50, 3)


def test_a_picture_too_long_for_a_jpeg_is_said_so() -> None:
    """An array of 70,000 pixels in a row has no JPEG: one error, of the same kind as all others."""
    long = Image(np.zeros((1, 70_000, 3), np.uint8))
    for look in (lambda: long.encoded, lambda: long.md5, lambda: long.thumbnail(Rectangle(0, 0, 70_000, 1))):
        with pytest.raises(ImageError, match="70000"):
            look()


def test_a_grey_array_becomes_bgr() -> None:
    """As the extractor takes it."""
    assert Image(np.full((4, 5), 7, np.uint8)).pixels.tolist() == [[[7] * 3] * 5] * 4
