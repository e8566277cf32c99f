"""Decoding only key frames while nothing happens, on made clips with a key frame a second."""

from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import av
import pytest

from cameras.clip import write_clip
from cameras.settings import CameraSettings
from cameras.source import Source
from cameras.stream import Decoded, Kept, Nothing
from pipeline.types import Picture
from tests.clips import moving_pictures, number_of

FPS = 25
STILL = 4 * FPS
"""So many pictures of a room where nothing happens."""
BEGINS = STILL + 12
"""Then somebody walks by, from the middle of a second on."""


def room(moves: range, count: int) -> Iterator[Picture]:
    """The picture with the number 0, but where something moves that with its own number."""
    pictures = list(moving_pictures(count))
    for number in range(count):
        yield pictures[number if number in moves else 0]


def watched(path: Path, busy: Callable[[], bool] = lambda: False) -> list[Decoded | Nothing | Kept]:
    settings = CameraSettings.model_validate({"id": "room", "url": str(path), "decode": "keyframes"})
    source = Source(settings, busy)
    try:
        return list(source.frames())
    finally:
        source.close()


def frame_numbers(items: list[Decoded | Nothing | Kept]) -> list[int]:
    """Which of the clip's pictures were decoded, by their times."""
    return [round((item.stream_seconds or 0) * FPS) for item in items if isinstance(item, Decoded)]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("room") / "visited.mp4"
    write_clip(path, room(range(BEGINS, BEGINS + 50), STILL + 6 * FPS), FPS)
    return path


def test_of_a_still_scene_only_key_frames_are_decoded(tmp_path: Path) -> None:
    """After the first second, when the scene is not known yet; and at the end of a recording what is left."""
    write_clip(tmp_path / "still.mp4", room(range(0), STILL), FPS)
    items = watched(tmp_path / "still.mp4")
    assert frame_numbers(items) == [*range(26), 50, 75, *range(76, 100)]
    assert sum(isinstance(item, Kept) for item in items) == 24 * 3


def test_all_of_a_visit_is_decoded_from_the_key_frame_before_it(visited: Path) -> None:
    """In order, nothing twice, each picture the right one; and afterwards it dozes again."""
    items = watched(visited)
    numbers = frame_numbers(items)
    assert numbers == sorted(set(numbers))
    assert set(range(STILL, BEGINS + 50)) <= set(numbers)
    assert len(numbers) < STILL + 6 * FPS - 2 * FPS
    shown = [number_of(item.pixels.bgr()) for item in items if isinstance(item, Decoded)]
    assert [number for number in shown if number] == list(range(BEGINS, BEGINS + 50))


def test_what_is_decoded_late_says_so_and_when_it_came(visited: Path) -> None:
    """The pictures before the key frame that showed the visitor, with the times of their arrival."""
    items = [item for item in watched(visited) if isinstance(item, Decoded)]
    late = [round((item.stream_seconds or 0) * FPS) for item in items if item.late]
    assert late[: FPS - 1] == list(range(STILL + 1, STILL + FPS))
    arrivals = [item.arrived_at for item in items]
    assert arrivals == sorted(arrivals)


def test_a_face_in_view_wakes_at_once(visited: Path) -> None:
    """Before the next key frame: what is kept is decoded with the packet that came meanwhile."""
    settings = CameraSettings.model_validate({"id": "room", "url": str(visited), "decode": "keyframes"})
    in_view = False
    source = Source(settings, lambda: in_view)
    frames = source.frames()
    asleep = next(item for item in frames if isinstance(item, Kept))
    list(islice(frames, 5))
    in_view = True
    woken = frame_numbers(list(islice(frames, 8)))
    source.close()
    first = round((asleep.stream_seconds or 0) * FPS)
    assert woken[:7] == list(range(first, first + 7))


def test_what_is_kept_is_bounded(visited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more than that, it is decoded and nothing is lost."""
    monkeypatch.setattr("cameras.dozing.MOST_BYTES", 1)
    items = watched(visited)
    assert not any(isinstance(item, Kept) for item in items)
    assert frame_numbers(items) == list(range(STILL + 6 * FPS))


def test_rare_key_frames_do_not_hide_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key frame every four seconds, and a look due sooner, what is kept is decoded by then."""
    monkeypatch.setattr("cameras.dozing.LONGEST_SECONDS", -1.0)
    path = tmp_path / "rare.mp4"
    write_clip(path, room(range(0), STILL), FPS, key_frame_seconds=2)
    assert frame_numbers(watched(path)) == list(range(STILL))


@pytest.mark.parametrize("packet_seconds", [0.001, 0.04])
def test_streams_with_frames_out_of_order_lose_none_of_a_visit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packet_seconds: float
) -> None:
    """B-frames: the decoder holds frames back and gives them in another order than they came.

    When it dozes off depends on how fast the packets come; in one of the two it dozes at the end.
    """
    ticks = count(1_700_000_000, packet_seconds)
    monkeypatch.setattr("cameras.source.time.time", lambda: next(ticks))
    path = tmp_path / "b.mp4"
    length = STILL + 6 * FPS
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "x264-params": "bframes=2:b-adapt=0:scenecut=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = FPS, 2
        for number, picture in enumerate(room(range(BEGINS, BEGINS + 50), length)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    items = watched(path)
    numbers = frame_numbers(items)
    assert numbers == sorted(set(numbers))
    assert set(range(STILL + 2, BEGINS + 50)) <= set(numbers)
    assert numbers[-1] == length - 1
    assert any(isinstance(item, Kept) for item in items)
