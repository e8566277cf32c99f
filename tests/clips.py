"""Moving pictures that the tests make themselves."""

from collections.abc import Iterator

import numpy as np

from pipeline.types import Picture


def moving_pictures(count: int, width: int = 320, height: int = 240) -> Iterator[Picture]:
    """A bright square that walks over a patterned wall, and in the top left corner, in 12 blocks of black or
    white, the picture's number, so that a decoded picture can be told from its neighbours."""
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
