"""Generated video pictures, and changes of mp4 files."""

import struct
from collections.abc import Iterator

import numpy as np

from pipeline.types import Picture


def moving_pictures(count: int, width: int = 320, height: int = 240) -> Iterator[Picture]:
    """Pictures of a bright square that moves over a patterned wall.

    The number of a picture is in its top left corner, as 12 black or white blocks; see `number_of`.
    """
    wall = np.random.default_rng(1).integers(60, 160, (height // 8, width // 8, 3), dtype=np.uint8)
    wall = wall.repeat(8, axis=0).repeat(8, axis=1)
    for number in range(count):
        picture = wall.copy()
        left = number * 4 % (width - 40)
        picture[height // 2 : height // 2 + 40, left : left + 40] = 255
        for bit in range(12):
            picture[0:16, bit * 16 : bit * 16 + 16] = 235 if number >> bit & 1 else 16
        yield picture


def number_of(picture: Picture) -> int:
    """The number of a decoded picture."""
    return sum(1 << bit for bit in range(12) if picture[4:12, bit * 16 + 4 : bit * 16 + 12].mean() > 128)


def with_display_matrix(mp4: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """The file with a matrix (a, b, c, d) in its track header: ISO/IEC 14496-12, 8.3.2.

    The nine numbers there are 16.16 fixed point, the last of each row 2.30.
    """
    a, b, c, d = (number << 16 for number in matrix)
    start = mp4.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", mp4, start) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    return mp4[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + mp4[start + 36 :]
