import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cameras.clips.write import splice, write_clip
from cameras.errors import ClipError, Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.container import DECODER_OPTIONS
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.pixels import Converter, DecodedPixels
from cameras.source.probe import probe
from cameras.stream import DecodedFrame, NoFrame
from pipeline.limits import MAX_PIXELS
from tests.clips import moving_pictures, number_of, with_display_matrix


def file_camera(path: Path) -> CameraSettings:
    return CameraSettings.model_validate({"id": "file", "url": str(path)})


def decoded(path: Path) -> list[DecodedFrame]:
    source = FFmpegSource(file_camera(path))
    try:
        return [item for item in source.frames() if isinstance(item, DecodedFrame)]
    finally:
        source.close()


def test_every_picture_of_a_clip_arrives_in_order_with_its_time(clip: Path) -> None:
    """A written clip is read completely, without duplicates, at 25 frames a second."""
    frames = decoded(clip)
    assert [number_of(frame.pixels.bgr()) for frame in frames] == list(range(50))
    assert [frame.stream_seconds for frame in frames] == pytest.approx([i / 25 for i in range(50)])


def test_the_metadata_of_a_file_is_read(clip: Path) -> None:
    """Codec, size, frame rate, and that it is a recording."""
    source = FFmpegSource(file_camera(clip))
    source.close()
    info = source.info
    assert (info.codec, info.width, info.height, info.fps, info.recorded) == ("h264", 320, 240, 25.0, True)


def test_pixels_are_converted_on_demand(clip: Path) -> None:
    """Full size, a downscaled picture, and luma as a read-only view."""
    pixels = decoded(clip)[7].pixels
    full, small, luma = pixels.bgr(), pixels.bgr(160, 120), pixels.luma()
    wanted = list(moving_pictures(8))[7].astype(int)
    assert np.abs(full.astype(int) - wanted).mean() < 12
    assert (full.shape, small.shape, luma.shape) == ((240, 320, 3), (120, 160, 3), (240, 320))
    shrunk = full.reshape(120, 2, 160, 2, 3).mean((1, 3))
    assert np.abs(small - shrunk).mean() < 3
    assert np.corrcoef(luma.ravel(), full.mean(2).ravel())[0, 1] > 0.95
    assert not luma.flags.owndata and not luma.flags.writeable


def test_pixels_outlive_their_source_and_may_be_read_by_many_threads(clip: Path) -> None:
    """The analysis thread converts after the camera's thread has read on or closed the stream."""
    frames = decoded(clip)
    wrong: list[int] = []

    def read(first: int) -> None:
        for number in range(first, 50, 4):
            if number_of(frames[number].pixels.bgr()) != number:
                wrong.append(number)
            frames[number].pixels.bgr(160 + 16 * first, 120)

    threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj422p", "nv12", "yuv420p10le", "rgb24", "yuyv422", "gray"]
)
def test_luma_is_available_in_every_pixel_format(pixel_format: str) -> None:
    """A view if the format has an 8-bit luma plane, else converted."""
    ramp = np.repeat(np.linspace(20, 230, 322, dtype=np.uint8)[None, :, None], 202, 0).repeat(3, 2)
    frame = av.VideoFrame.from_ndarray(ramp, format="bgr24").reformat(format=pixel_format)
    luma = DecodedPixels(frame, Converter()).luma()
    assert luma.shape == (202, 322)
    assert np.corrcoef(luma.ravel(), ramp[:, :, 0].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_rotated_recording_is_shown_upright(clip: Path, tmp_path: Path, turn: int) -> None:
    """Telephones store the rotation in the file; `turn`: clockwise degrees."""
    turned = tmp_path / "turned.mp4"
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn]
    turned.write_bytes(with_display_matrix(clip.read_bytes(), matrix))
    upright = np.rot90(decoded(clip)[7].pixels.bgr(), -turn // 90)
    pixels = decoded(turned)[7].pixels
    assert (pixels.height, pixels.width) == upright.shape[:2]
    assert np.abs(pixels.bgr().astype(int) - upright).mean() < 1
    assert np.corrcoef(pixels.luma().ravel(), upright.mean(2).ravel())[0, 1] > 0.95
    assert pixels.bgr(60, 80).shape == (80, 60, 3)


def bad_file(kind: str, clip: Path, folder: Path) -> Path:
    path = folder / f"{kind}.mp4"
    match kind:
        case "random":
            path.write_bytes(np.random.default_rng(5).bytes(20_000))
        case "empty":
            path.touch()
        case "truncated":
            path.write_bytes(clip.read_bytes()[:10_000])
        case "text":
            path.write_text("#EXTM3U\nhttp://127.0.0.1:9/stolen.ts\n")
        case "folder":
            path.mkdir()
        case "sound":
            with av.open(str(path), "w") as container:
                stream = container.add_stream("aac", rate=44100)
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                silence.sample_rate = 44100
                container.mux(stream.encode(silence))
                container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("random", Reason.CORRUPT),
        ("empty", Reason.CORRUPT),
        ("truncated", Reason.CORRUPT),
        ("text", Reason.CORRUPT),
        ("folder", Reason.UNSUPPORTED),
        ("sound", Reason.NO_VIDEO),
        ("missing", Reason.NOT_FOUND),
    ],
)
def test_an_unusable_file_has_a_reason(kind: str, reason: Reason, clip: Path, tmp_path: Path) -> None:
    """Random bytes, an empty file, half a file, a playlist, a folder, audio only, no file."""
    with pytest.raises(SourceError) as caught:
        FFmpegSource(file_camera(bad_file(kind, clip, tmp_path)))
    assert caught.value.reason is reason
    assert "\n" not in str(caught.value)


def test_a_clip_with_a_damaged_packet_is_read_to_its_end(clip: Path, tmp_path: Path) -> None:
    """The damaged packet is counted as corrupt."""
    with av.open(str(clip)) as container:
        position = [packet.pos for packet in container.demux(video=0)][10]
    raw = bytearray(clip.read_bytes())
    assert position is not None
    raw[position : position + 4] = b"\xff\xff\xff\xff"  # a slice of 4 GB, says its length
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(raw)
    source = FFmpegSource(file_camera(damaged))
    items = list(source.frames())
    source.close()
    assert items.count(NoFrame(corrupt=True)) == 1
    frames = [item for item in items if isinstance(item, DecodedFrame)]
    assert len(frames) == 49
    assert number_of(frames[-1].pixels.bgr()) == 49


@pytest.mark.parametrize(("width", "number"), [(800, 3), (900, 0)])
def test_pictures_above_the_limit_of_pixels_are_not_decoded(
    width: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG of a megabyte may contain a picture of a gigabyte."""
    limit = {"max_pixels": str(850 * 608)}
    for module in ("cameras.source.container", "cameras.source.ffmpeg"):
        monkeypatch.setattr(f"{module}.DECODER_OPTIONS", limit)
    path = tmp_path / "large.mjpeg"
    encoded, data = cv2.imencode(".jpg", np.zeros((600, width, 3), np.uint8))
    path.write_bytes(bytes(data) * 3)
    assert encoded
    assert len(decoded(path)) == number


def test_the_pixel_limit_of_video_is_that_of_pictures() -> None:
    """As in `pipeline.max_pixels`."""
    assert int(DECODER_OPTIONS["max_pixels"]) == MAX_PIXELS


def test_probe_returns_the_first_picture(clip: Path) -> None:
    """With the metadata, and the time that it took."""
    result = probe(file_camera(clip))
    assert (result.codec, result.width, result.height, result.fps) == ("h264", 320, 240, 25.0)
    assert number_of(result.picture) == 0
    assert 0 < result.seconds_to_first_picture < 5


def test_a_clip_is_written_atomically(tmp_path: Path) -> None:
    """Pictures of different sizes, no pictures, and a missing folder leave no file behind."""
    mixed = [*moving_pictures(2), *moving_pictures(1, 160, 120)]
    with pytest.raises(ClipError, match="shape"):
        write_clip(tmp_path / "mixed.mp4", mixed, 25)
    with pytest.raises(ClipError, match="at least one"):
        write_clip(tmp_path / "none.mp4", [], 25)
    with pytest.raises(ClipError, match="cannot be written"):
        write_clip(tmp_path / "nowhere" / "a.mp4", moving_pictures(1), 25)
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_lose_their_last_row_and_column(tmp_path: Path) -> None:
    """YUV 4:2:0 has even sizes only."""
    pictures = [picture[:-1, :-1] for picture in moving_pictures(3)]
    write_clip(tmp_path / "odd.mp4", pictures, 10)
    pixels = decoded(tmp_path / "odd.mp4")[0].pixels
    assert (pixels.width, pixels.height) == (318, 238)


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.4, 25), (0.99, 0)])
def test_splice_concatenates_clips_and_begins_at_the_requested_position(
    tmp_path: Path, start: float, first: int
) -> None:
    """At the next key frame, with evenly spaced times, and without encoding."""
    parts = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    pictures = list(moving_pictures(50))
    write_clip(parts[0], pictures[:25], 25)
    write_clip(parts[1], pictures[25:], 25)
    assert splice(tmp_path / "whole.mp4", parts, start) == first / 25
    frames = decoded(tmp_path / "whole.mp4")
    assert [number_of(frame.pixels.bgr()) for frame in frames] == [*range(first, 50), *range(first)]
    assert [frame.stream_seconds for frame in frames] == pytest.approx([i / 25 for i in range(50)])


def test_splice_refuses_clips_that_differ(tmp_path: Path, clip: Path) -> None:
    """No clips at all, and clips with different time bases."""
    write_clip(tmp_path / "slow.mp4", moving_pictures(5), 7)
    with pytest.raises(ClipError, match="time base"):
        splice(tmp_path / "whole.mp4", [clip, tmp_path / "slow.mp4"])
    with pytest.raises(ClipError, match="no clips"):
        splice(tmp_path / "whole.mp4", [])
    assert not (tmp_path / "whole.mp4").exists()
