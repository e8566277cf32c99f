"""Keyframe mode on generated clips with a key frame every second."""

from collections.abc import Callable, Container, Iterator
from itertools import count, islice
from pathlib import Path

import av
import pytest

from cameras.clips.write import write_clip
from cameras.load.decode_load import DecodeLoad
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame, NoFrame, UndecodedPacket
from pipeline.types import Picture
from tests.clips import moving_pictures, number_of

FPS = 25
STILL = 4 * FPS
"""Number of pictures of an empty room."""
BEGINS = STILL + 12
"""Then a person walks by, from the middle of a second on."""


def room(moves: Container[int], count: int) -> Iterator[Picture]:
    """The picture with the number 0, but where something moves that with its own number."""
    pictures = list(moving_pictures(count))
    for number in range(count):
        yield pictures[number if number in moves else 0]


def watched(
    path: Path, in_view: Callable[[], bool] = lambda: False
) -> list[DecodedFrame | NoFrame | UndecodedPacket]:
    settings = CameraSettings.model_validate({"id": "room", "url": str(path), "decode": "keyframes"})
    source = FFmpegSource(settings, in_view)
    try:
        return list(source.frames())
    finally:
        source.close()


def frame_numbers(items: list[DecodedFrame | NoFrame | UndecodedPacket]) -> list[int]:
    """The numbers of the decoded pictures, derived from their times."""
    return [round((item.stream_seconds or 0) * FPS) for item in items if isinstance(item, DecodedFrame)]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("room") / "visited.mp4"
    write_clip(path, room(range(BEGINS, BEGINS + 50), STILL + 6 * FPS), FPS)
    return path


def test_only_key_frames_of_a_still_scene_are_decoded(tmp_path: Path) -> None:
    """And at the end of a recording, the rest of the buffer."""
    write_clip(tmp_path / "still.mp4", room(range(0), STILL), FPS)
    items = watched(tmp_path / "still.mp4")
    assert frame_numbers(items) == [0, 25, 50, 75, *range(76, 100)]
    assert sum(isinstance(item, UndecodedPacket) for item in items) == 24 * 4


def test_a_visit_that_is_in_progress_at_the_start_is_decoded_completely(tmp_path: Path) -> None:
    """The first key frame has no reference; the second one shows motion."""
    write_clip(tmp_path / "at once.mp4", room(range(60), STILL), FPS)
    assert set(range(60)) <= set(frame_numbers(watched(tmp_path / "at once.mp4")))


def test_all_of_a_visit_is_decoded_from_the_key_frame_before_it(visited: Path) -> None:
    """In order and without duplicates; afterwards keyframe mode is active again."""
    items = watched(visited)
    numbers = frame_numbers(items)
    assert numbers == sorted(set(numbers))
    assert set(range(STILL, BEGINS + 50)) <= set(numbers)
    assert len(numbers) < STILL + 6 * FPS - 2 * FPS
    shown = [number_of(item.pixels.bgr()) for item in items if isinstance(item, DecodedFrame)]
    assert [number for number in shown if number] == list(range(BEGINS, BEGINS + 50))


def test_an_empty_scene_activates_keyframe_mode_before_the_next_key_frame(tmp_path: Path) -> None:
    """Key frames every four seconds; the visitor leaves two seconds before the next one."""
    path = tmp_path / "left.mp4"
    write_clip(path, room(range(80, 150), 400), FPS, key_frame_seconds=4)
    numbers = frame_numbers(watched(path))
    assert set(range(80, 150)) <= set(numbers)
    assert not set(range(150 + FPS, 200)) & set(numbers)
    assert numbers[-101:] == [200, *range(300, 400)]


@pytest.mark.parametrize("from_frame", [0, 30])
def test_while_a_face_is_in_view_everything_is_decoded(tmp_path: Path, from_frame: int) -> None:
    """Even if the scene is still and looks like the empty one; each frame is decoded once, without delay."""
    write_clip(tmp_path / "still.mp4", room(range(0), STILL), FPS)
    settings = CameraSettings.model_validate(
        {"id": "room", "url": str(tmp_path / "still.mp4"), "decode": "keyframes"}
    )
    items: list[DecodedFrame | NoFrame | UndecodedPacket] = []
    source = FFmpegSource(settings, lambda: len(items) >= from_frame)
    for item in source.frames():
        items.append(item)  # noqa: PERF402 - it is looked into meanwhile
    source.close()
    assert not any(isinstance(item, UndecodedPacket) for item in items[from_frame:])
    late = [item.late for item in items[from_frame:] if isinstance(item, DecodedFrame)]
    assert late == sorted(late, reverse=True)
    assert sum(late) < FPS


def test_a_visitor_who_returns_before_the_next_key_frame_is_decoded(tmp_path: Path) -> None:
    """Frames that were returned before keyframe mode are not returned again."""
    path = tmp_path / "back.mp4"
    write_clip(path, room([*range(80, 130), *range(180, 230)], 400), FPS, key_frame_seconds=4)
    numbers = frame_numbers(watched(path))
    assert numbers == sorted(set(numbers))
    assert {*range(80, 130), *range(180, 230)} <= set(numbers)


def test_a_scene_that_stays_changed_activates_keyframe_mode_at_the_second_key_frame(tmp_path: Path) -> None:
    """A bright box was put into the scene."""
    pictures = list(moving_pictures(STILL + 1))
    write_clip(tmp_path / "box.mp4", (pictures[STILL * (n >= 30)] for n in range(STILL + 2 * FPS)), FPS)
    assert frame_numbers(watched(tmp_path / "box.mp4")) == [0, *range(25, 76), 100, *range(125, 150)]


def test_frequent_key_frames_are_not_all_checked(tmp_path: Path) -> None:
    """As with JPEG, where every frame is a key frame. A visit is still decoded from its beginning."""
    path = tmp_path / "often.mp4"
    write_clip(path, room(range(BEGINS, BEGINS + 50), STILL + 4 * FPS), FPS, key_frame_seconds=1 / FPS)
    numbers = frame_numbers(watched(path))
    assert numbers == sorted(set(numbers))
    assert [number for number in numbers if number < BEGINS - 13] == [0, 13, 26, 39, 52, 65, 78, 91]
    assert set(range(BEGINS, BEGINS + 50)) <= set(numbers)


def test_with_decode_all_only_an_overload_allows_keyframe_mode(tmp_path: Path) -> None:
    """It is allowed from the 30th picture to the 110th: nothing is decoded twice, and what
    was kept by then is not lost."""
    path = tmp_path / "still.mp4"
    write_clip(path, room(range(0), 160), FPS)
    settings = CameraSettings.model_validate({"id": "room", "url": str(path)})
    items: list[DecodedFrame | NoFrame | UndecodedPacket] = []

    class Overloaded(DecodeLoad):
        @property
        def overloaded(self) -> bool:
            return 30 <= len(items) < 110

    source = FFmpegSource(settings, decode_load=Overloaded())
    for item in source.frames():
        items.append(item)  # noqa: PERF402 - it is looked into meanwhile
    source.close()
    assert frame_numbers(items) == [*range(51), 75, *range(100, 160)]
    assert sum(isinstance(item, UndecodedPacket) for item in items) == 24 + 24 + 9


@pytest.mark.parametrize(
    ("decode_load", "options", "uses_keyframe_mode"),
    [
        (DecodeLoad(), {"loop": True}, True),
        (DecodeLoad(), {}, False),
        (DecodeLoad(), {"loop": True, "speed": "fast"}, False),
        (None, {"loop": True}, False),
    ],
)
def test_only_a_camera_that_must_keep_pace_can_be_overloaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decode_load: DecodeLoad | None,
    options: dict[str, object],
    uses_keyframe_mode: bool,
) -> None:
    """A recording that waits for the analysis decodes all the time, and is decoded completely."""
    monkeypatch.setattr("cameras.load.decode_load.WINDOW_SECONDS", 0.001)
    monkeypatch.setattr("cameras.load.decode_load.BEHIND_SHARE", 0.0)
    monkeypatch.setattr("cameras.load.decode_load.KEEPS_UP_SHARE", 0.0)
    path = tmp_path / "still.mp4"
    write_clip(path, room(range(0), STILL), FPS)
    settings = CameraSettings.model_validate({"id": "room", "url": str(path), **options})
    source = FFmpegSource(settings, decode_load=decode_load)
    items = list(source.frames())
    source.close()
    assert any(isinstance(item, UndecodedPacket) for item in items) == uses_keyframe_mode
    if not uses_keyframe_mode:
        assert frame_numbers(items) == list(range(STILL))


def test_an_overload_leaves_no_gap(tmp_path: Path) -> None:
    """It ends for half a second while packets are buffered; they are decoded."""
    path = tmp_path / "gap.mp4"
    write_clip(path, room(range(52, 90), 260), FPS, key_frame_seconds=4)
    settings = CameraSettings.model_validate({"id": "room", "url": str(path)})
    items: list[DecodedFrame | NoFrame | UndecodedPacket] = []

    class Overloaded(DecodeLoad):
        @property
        def overloaded(self) -> bool:
            return not 110 <= len(items) < 122

    source = FFmpegSource(settings, lambda: 105 <= len(items) < 130, Overloaded())
    for item in source.frames():
        items.append(item)  # noqa: PERF402 - it is looked into meanwhile
    source.close()
    numbers = frame_numbers(items)
    assert numbers == sorted(set(numbers))
    assert set(range(100, 200)) <= set(numbers), "keyframe mode was not active over the gap"


def test_late_frames_are_marked_and_have_their_arrival_time(visited: Path) -> None:
    """The frames before the key frame that showed the visitor."""
    items = [item for item in watched(visited) if isinstance(item, DecodedFrame)]
    late = [round((item.stream_seconds or 0) * FPS) for item in items if item.late]
    assert late[: FPS - 1] == list(range(STILL + 1, STILL + FPS))
    arrivals = [item.arrived_at for item in items]
    assert arrivals == sorted(arrivals)


def test_a_face_in_view_ends_keyframe_mode_at_once(visited: Path) -> None:
    """Before the next key frame: the buffer is decoded, and the current packet."""
    settings = CameraSettings.model_validate({"id": "room", "url": str(visited), "decode": "keyframes"})
    in_view = False
    source = FFmpegSource(settings, lambda: in_view)
    frames = source.frames()
    skipped = next(item for item in frames if isinstance(item, UndecodedPacket))
    list(islice(frames, 5))
    in_view = True
    woken = frame_numbers(list(islice(frames, 8)))
    source.close()
    first = round((skipped.stream_seconds or 0) * FPS)
    assert woken[:7] == list(range(first, first + 7))


def test_the_buffer_is_bounded(visited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full, it is decoded, and no frame is lost."""
    monkeypatch.setattr("cameras.load.keyframe_mode.MAX_BUFFER_BYTES", 1)
    items = watched(visited)
    assert not any(isinstance(item, UndecodedPacket) for item in items)
    assert frame_numbers(items) == list(range(STILL + 6 * FPS))


def test_rare_key_frames_do_not_delay_decoding_beyond_the_buffers_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key frame every four seconds, the buffer is decoded earlier."""
    monkeypatch.setattr("cameras.load.keyframe_mode.MAX_BUFFER_SECONDS", -1.0)
    path = tmp_path / "rare.mp4"
    write_clip(path, room(range(0), STILL), FPS, key_frame_seconds=2)
    assert frame_numbers(watched(path)) == list(range(STILL))


@pytest.mark.parametrize("packet_seconds", [0.001, 0.04])
def test_streams_with_frames_out_of_order_lose_none_of_a_visit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packet_seconds: float
) -> None:
    """B-frames: the decoder holds frames back and gives them in another order than they came.

    When keyframe mode begins depends on the packet rate; in one of the two it is active at the end.
    """
    ticks = count(1_700_000_000, packet_seconds)
    monkeypatch.setattr("cameras.source.ffmpeg.time.time", lambda: next(ticks))
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
    assert any(isinstance(item, UndecodedPacket) for item in items)
