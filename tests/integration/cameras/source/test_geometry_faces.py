"""Faces in recordings with non-square pixels, interlaced or rotated, are found as in the original."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.extractor import find_faces
from pipeline.types import Picture
from tests.clips import with_display_matrix
from tests.faces import default_models, six_people
from tests.unit.cameras.source.test_geometry import decoded, encode

SIZE = (1280, 864)
MAX_LOSS = 0.01


def original() -> Picture:
    return np.ascontiguousarray(six_people()[: SIZE[1]])


def confidence(picture: Picture) -> list[float]:
    return sorted(face.score for face in find_faces(default_models().detector, picture))[-6:]


def squeezed(folder: Path) -> Path:
    """A pixel aspect ratio of 40:33, like a PAL camera in 16:9."""
    narrow = cv2.resize(original(), (1056, 864), interpolation=cv2.INTER_AREA)
    return encode(folder / "clip.mp4", [np.asarray(narrow, np.uint8)] * 3, Fraction(40, 33))


def flattened(folder: Path) -> Path:
    """Half the lines, like a DVR that stores one field."""
    low = cv2.resize(original(), (1280, 432), interpolation=cv2.INTER_AREA)
    return encode(folder / "clip.mp4", [np.asarray(low, np.uint8)] * 3, Fraction(1, 2))


def interlaced(folder: Path) -> Path:
    """People who walk by, 4 px per field."""
    fields = [np.roll(original(), 4 * number, axis=1) for number in range(-5, 3)]
    frames = [first.copy() for first in fields[0::2]]
    for frame, second in zip(frames, fields[1::2], strict=True):
        frame[1::2] = second[1::2]
    return encode(folder / "clip.mp4", frames, order="tff")


def turned(folder: Path) -> Path:
    """Mirrored and rotated by 90°."""
    coded = encode(folder / "coded.mp4", [np.ascontiguousarray(original().swapaxes(0, 1))] * 3)
    clip = folder / "clip.mp4"
    clip.write_bytes(with_display_matrix(coded.read_bytes(), (0, 1, 1, 0)))
    return clip


@pytest.mark.parametrize("kind", [squeezed, flattened, interlaced, turned])
def test_confidence_falls_by_less_than_a_hundredth(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    """On average over six faces, compared with the same picture in an ordinary recording."""
    plain = confidence(decoded(encode(tmp_path / "plain.mp4", [original()] * 3))[-1].bgr())
    found = confidence(decoded(kind(tmp_path))[-2].bgr())
    print(kind.__name__, np.round(plain, 4), np.round(found, 4))
    assert len(found) == 6
    assert np.mean(plain) - np.mean(found) < MAX_LOSS
