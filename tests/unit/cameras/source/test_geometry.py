"""Frames are upright, have square pixels, and are deinterlaced."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.geometry import square_size
from cameras.stream import DecodedFrame
from pipeline.types import Picture, Pixels
from tests.clips import with_display_matrix


def decoded(path: Path) -> list[Pixels]:
    source = FFmpegSource(CameraSettings.model_validate({"id": "file", "url": str(path)}))
    try:
        return [item.pixels for item in source.frames() if isinstance(item, DecodedFrame)]
    finally:
        source.close()


def encode(
    path: Path, pictures: Sequence[Picture], aspect_ratio: Fraction | None = None, order: str = ""
) -> Path:
    """A recording; interlaced if there is a field order, `tff` or `bff`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8", "preset": "fast"}
        if order:
            stream.options = {**stream.options, "x264-params": f"interlaced=1:{order}=1"}
            stream.codec_context.flags |= 0x20040000  # AV_CODEC_FLAG_INTERLACED_DCT and _ME
        if aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = aspect_ratio
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


def corners(width: int = 192, height: int = 128) -> Picture:
    """Smooth, with another shade at each corner."""
    small = np.array([[20, 90], [160, 240]], np.uint8)
    grey = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.repeat(grey[:, :, None], 3, axis=2)


def difference(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(
    "aspect_ratio", [Fraction(40, 33), Fraction(16, 11), Fraction(8, 9), Fraction(6, 11)]
)
def test_pixels_become_square(tmp_path: Path, aspect_ratio: Fraction) -> None:
    """Size, luma and picture agree, and no side becomes smaller."""
    pixels = decoded(encode(tmp_path / "a.mp4", [corners()] * 3, aspect_ratio))[0]
    shape = (pixels.height, pixels.width)
    assert pixels.width / pixels.height == pytest.approx(192 / 128 * aspect_ratio, rel=0.01)
    assert min(pixels.width / 192, pixels.height / 128) >= 1
    assert pixels.luma().shape == shape and pixels.bgr().shape == (*shape, 3)
    assert pixels.bgr(90, 60).shape == (60, 90, 3)
    assert difference(pixels.bgr(), cv2.resize(corners(), shape[::-1])) < 4


@pytest.mark.parametrize("aspect_ratio", [None, Fraction(0), Fraction(1), Fraction(1, 255), Fraction(200)])
def test_an_implausible_aspect_ratio_is_ignored(aspect_ratio: Fraction | None) -> None:
    """So are an unknown one and 1."""
    assert square_size(704, 576, aspect_ratio) == (704, 576)


MATRICES = {
    "turned 90": (0, 1, -1, 0),
    "turned 180": (-1, 0, 0, -1),
    "turned 270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("aspect_ratio", [None, Fraction(40, 33)])
def test_a_display_matrix_puts_the_picture_upright(
    tmp_path: Path, kind: str, aspect_ratio: Fraction | None
) -> None:
    """Each quarter turn, mirrored or not, with square pixels and others.

    A pixel (x, y) of the coded picture is shown at (ax + cy, bx + dy).
    """
    a, b, c, d = MATRICES[kind]
    coded = encode(tmp_path / "coded.mp4", [corners()] * 3, aspect_ratio)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(with_display_matrix(coded.read_bytes(), (a, b, c, d)))
    upright, pixels = decoded(coded)[0].bgr(), decoded(turned)[0]
    made = pixels.bgr()
    assert made.shape[:2] == (pixels.height, pixels.width) == pixels.luma().shape
    height, width = upright.shape[:2]
    for x, y in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        shown_x, shown_y = a * x + c * y, b * x + d * y
        shown_x += made.shape[1] - 1 if a + c < 0 else 0
        shown_y += made.shape[0] - 1 if b + d < 0 else 0
        assert np.abs(made[shown_y, shown_x].astype(int) - upright[y, x]).max() < 8
        assert abs(int(pixels.luma()[shown_y, shown_x]) - int(decoded(coded)[0].luma()[y, x])) < 8


def moving(order: str, count: int = 6) -> tuple[list[Picture], list[Picture]]:
    """Interlaced frames of a pattern that moves 6 px a field, and what it looks like at each field."""
    noise = np.random.default_rng(3).integers(0, 255, (6, 24, 3)).astype(np.uint8)
    wide = cv2.resize(noise, (480, 128), interpolation=cv2.INTER_CUBIC)
    fields = [np.ascontiguousarray(np.roll(wide, 6 * number, axis=1)[:, :192]) for number in range(2 * count)]
    frames = []
    for first, second in zip(fields[0::2], fields[1::2], strict=True):
        frame = first.copy()
        lines = slice(1, None, 2) if order == "tff" else slice(0, None, 2)
        frame[lines] = second[lines]
        frames.append(frame)
    return frames, fields


def combs(picture: Picture) -> float:
    """How much lines differ from their neighbours."""
    grey = picture.mean(axis=2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_an_interlaced_recording_is_deinterlaced(tmp_path: Path, order: str) -> None:
    """With either field first, from the first frame on, in picture and luma."""
    frames, fields = moving(order)
    found = decoded(encode(tmp_path / "interlaced.mp4", frames, order=order))
    assert len(found) == len(frames)
    for pixels, coded, first, second in zip(found, frames, fields[0::2], fields[1::2], strict=True):
        assert combs(pixels.bgr()) < combs(coded) / 3
        assert combs(np.repeat(pixels.luma()[:, :, None], 3, axis=2)) < combs(coded) / 3
        made = pixels.bgr()
        assert min(difference(made, first), difference(made, second)) < difference(coded, second)


def test_a_still_interlaced_picture_keeps_both_fields(tmp_path: Path) -> None:
    """Single lines stay visible."""
    lines = np.repeat(np.array([60, 190] * 64, np.uint8)[:, None, None], 192, axis=1).repeat(3, axis=2)
    found = decoded(encode(tmp_path / "still.mp4", [lines] * 4, order="tff"))
    assert all(difference(pixels.bgr(), lines) < 8 for pixels in found[1:])
