"""Splitting a stream of bytes into JPEG pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from cameras.source.http.jpeg_splitter import JpegSplitter


def jpeg(**options: object) -> bytes:
    """A noisy picture, whose data holds all kinds of bytes."""
    made = io.BytesIO()
    noise = np.random.default_rng(7).bytes(64 * 48 * 3)
    Image.frombytes("RGB", (64, 48), noise).save(made, "JPEG", **options)
    return made.getvalue()


PLAIN = jpeg(quality=95)
PROGRESSIVE = jpeg(progressive=True)
RESTARTS = jpeg(restart_marker_blocks=2)
THUMBNAIL = PLAIN[:2] + b"\xff\xe1" + (len(RESTARTS) + 8).to_bytes(2) + b"Exif\x00\x00" + RESTARTS + PLAIN[2:]


@pytest.mark.parametrize("picture", [PLAIN, PROGRESSIVE, RESTARTS, THUMBNAIL])
@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_a_picture_is_found_regardless_of_chunks_and_surrounding_bytes(picture: bytes, size: int) -> None:
    """Also with another picture (a thumbnail) inside."""
    data, splitter = b"--x\r\n" + picture + b"\r\n\xff--\xff\xd8 y" + picture, JpegSplitter()
    found = [made for at in range(0, len(data), size) for made in splitter.feed(data[at : at + size])]
    assert found == [picture, picture]


def test_a_truncated_picture_does_not_hide_the_next() -> None:
    """The truncated picture is counted."""
    splitter = JpegSplitter()
    assert list(splitter.feed(PLAIN[: len(PLAIN) // 2] + PLAIN + PLAIN[:3] + PLAIN)) == [PLAIN, PLAIN]
    assert splitter.truncated == 2
