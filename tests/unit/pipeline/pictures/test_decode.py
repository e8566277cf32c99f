"""Pictures of unusual depth and format: scaled, decoded, or refused with a remedy."""

import io

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, features

from pipeline.errors import PictureError
from pipeline.pictures.decode import decode
from pipeline.types import Picture

MAX_PIXELS = 100_000
RAMP = np.tile(np.linspace(0, 1, 256), (64, 1))
GREYS = [0, 51, 102, 153, 204, 255]


def encoded(array: np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, name, **options)
    return file.getvalue()


def greys(picture: Picture) -> list[int]:
    """Every 51st value of a row; all channels are the same."""
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (picture[..., 0] == picture[..., 2]).all()
    return [int(value) for value in picture[10, ::51, 0]]


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_grey_pictures_of_more_than_8_bits_are_scaled(name: str, bits: int) -> None:
    """By the smallest usual bit depth that fits: sensors write 12 bits into 16."""
    array = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    assert greys(decode(encoded(array, name), MAX_PIXELS)) == GREYS


@pytest.mark.parametrize("low_high", [(0, 1), (0, 255), (0, 65_535), (-1, 1), (-3e6, 7e6), (0, 1e9)])
def test_floating_point_numbers_are_scaled(low_high: tuple[float, float]) -> None:
    """The range 0 to 1 or a usual bit depth if it fits, else the extremes."""
    low, high = low_high
    array = (RAMP * (high - low) + low).astype(np.float32)
    assert greys(decode(encoded(array, "TIFF"), MAX_PIXELS)) == GREYS


def test_nan_and_infinity_do_not_affect_other_pixels() -> None:
    """NaN is black, infinity white; a picture of NaN only is black."""
    array = RAMP.astype(np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    picture = decode(encoded(array, "TIFF"), MAX_PIXELS)
    assert greys(picture) == GREYS
    assert [int(value) for value in picture[0, :3, 0]] == [0, 255, 0]
    assert decode(encoded(np.full((8, 8), np.nan, np.float32), "TIFF"), MAX_PIXELS).max() == 0


def test_32_bit_integers_are_scaled() -> None:
    """Like floating-point numbers; a constant picture stays constant."""
    array = np.round(RAMP * 2e9 - 1e9).astype(np.int32)
    assert greys(decode(encoded(array, "TIFF"), MAX_PIXELS)) == GREYS
    flat = decode(encoded(np.full((8, 8), -5, np.int32), "TIFF"), MAX_PIXELS)
    assert np.unique(flat).tolist() == [0]


def test_a_tiff_whose_white_is_zero_is_inverted() -> None:
    """Common in X-ray and thermal pictures."""
    array = np.round(RAMP * 65_535).astype(np.uint16)
    data = encoded(array, "TIFF", tiffinfo={262: 0})
    assert greys(decode(data, MAX_PIXELS)) == GREYS[::-1]


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_is_read_upright() -> None:
    """By its orientation, within the pixel limit."""
    array = np.zeros((40, 64, 3), np.uint8)
    array[:20] = 200, 30, 30
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(array, "AVIF", exif=exif, quality=95)
    picture = decode(data, MAX_PIXELS)
    assert picture.shape == (64, 40, 3)
    assert picture[30, 35, 2] > 150 > 60 > picture[30, 5, 2]
    with pytest.raises(PictureError, match="the limit is 1000 in total"):
        decode(data, 1000)


def ftyp(*names: bytes) -> bytes:
    body = names[0] + bytes(4) + b"".join(names[1:])
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08mdat"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            ftyp(b"heic", b"mif1", b"heic"),
            "a HEIC picture, which is not supported; convert it to JPEG, .*heif-convert",
        ),
        (ftyp(b"mif1", b"heix"), "a HEIC picture"),
        (ftyp(b"msf1", b"hevc"), "a HEIC picture"),
        (ftyp(b"isom", b"mp42"), "a video; take a picture out of it"),
        (
            b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20),
            "a JPEG XL picture, which is not supported; convert it to JPEG or PNG",
        ),
        (b"\xff\x0a" + bytes(30), "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "a JPEG 2000 picture"),
        (b"8BPS\0\1" + bytes(30), "a Photoshop document"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\n<svg xmlns='x'/>", "an SVG drawing"),
        (ftyp(b"crx ", b"isom"), "a raw picture"),
        (
            cv2.imencode(".tiff", RAMP)[1].tobytes(),
            "a TIFF picture with an unusual .*sample format",
        ),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), "a raw picture"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"no picture at all", "these 17 bytes are not a picture; expected JPEG, PNG, WEBP"),
    ],
)
def test_an_unsupported_format_is_named(data: bytes, message: str) -> None:
    """With a remedy."""
    with pytest.raises(PictureError, match=message):
        decode(data, MAX_PIXELS)
