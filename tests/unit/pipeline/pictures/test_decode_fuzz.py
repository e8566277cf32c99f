"""Any bytes are decoded, or refused with a PictureError."""

import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import PictureError
from pipeline.pictures.decode import decode

MAX_PIXELS = 100_000


def _samples() -> list[bytes]:
    """A small picture in every format that is taken, some with the details that decoders stumble over."""
    noise = np.random.default_rng(1).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    wanted: list[tuple[str, dict[str, object]]] = [
        *(("JPEG", {"exif": exif}), ("JPEG", {"progressive": True}), ("PNG", {"exif": exif}), ("PNG", {})),
        *(
            ("WEBP", {"exif": exif}),
            ("BMP", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("GIF", {}),
            ("PPM", {}),
            ("AVIF", {"exif": exif}),
        ),
    ]
    samples = []
    for name, options in wanted:
        file = io.BytesIO()
        picture.save(file, name, **options)
        samples.append(file.getvalue())
    return samples


SAMPLES = _samples()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture with some bits turned, bytes put in or taken out, or its end cut off."""
    content = bytearray(draw(st.sampled_from(SAMPLES)))
    chance = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311  repeatable, no secret
    # Most of a file is pixels; what decoders go by stands at its beginning.
    reach = draw(st.sampled_from([16, 64, 256, len(content)]))
    for _ in range(draw(st.integers(0, 6))):
        place = chance.randrange(min(reach, len(content)))
        match chance.randrange(4):
            case 0:
                content[place] ^= 1 << chance.randrange(8)
            case 1:
                content[place] = chance.choice([0, 1, 127, 128, 255])
            case 2:
                content[place:place] = chance.randbytes(chance.randrange(1, 9))
            case _:
                del content[place : place + chance.randrange(1, 9)]
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow tells what it skips
@given(data=damaged() | st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_picture_error(data: bytes) -> None:
    """Random, truncated or modified: pixels within the limit, or an error of one line."""
    try:
        picture = decode(data, MAX_PIXELS)
    except PictureError as error:
        assert len(str(error).splitlines()) == 1
        return
    height, width, channels = picture.shape
    assert (channels, picture.dtype) == (3, np.uint8)
    assert 1 <= height * width <= MAX_PIXELS
