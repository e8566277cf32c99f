"""A live camera whose frames cannot be decoded in time, with a real RTSP server."""

import time
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import pytest

from cameras.load.decode_load import DecodeLoad
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame, UndecodedPacket
from tests.clips import number_of
from tests.rtsp import rtsp_server

FPS = 25
HELD_UP_SECONDS = 2.0


@pytest.mark.parametrize("is_behind", [True, False])
def test_late_packets_are_dropped_until_the_next_key_frame(clip: Path, is_behind: bool) -> None:
    """Where the thread is behind, and not where it was held up only once: then every picture is decoded.

    In both cases each picture that comes is whole, and at the end they are in time again."""
    decode_load = DecodeLoad()
    with rtsp_server({"hall": clip}) as server:
        settings = CameraSettings.model_validate({"id": "hall", "url": server.url("hall")})
        with closing(FFmpegSource(settings, decode_load=decode_load)) as source:
            frames = source.frames()
            before = list(islice(frames, 20))
            time.sleep(HELD_UP_SECONDS)
            decode_load.behind = is_behind
            after = list(islice(frames, 4 * FPS))
    dropped = [item for item in after if isinstance(item, UndecodedPacket)]
    shown = [item for item in after if isinstance(item, DecodedFrame)]
    assert len(shown) + len(dropped) == len(after), "a picture was damaged"
    numbers = [number_of(item.pixels.bgr()) for item in shown]
    assert all((later - earlier) % 100 == 1 for earlier, later in pairwise(numbers)), numbers
    if is_behind:
        assert after[: len(dropped)] == dropped
        assert len(dropped) >= (HELD_UP_SECONDS - 1) * FPS
        assert numbers[0] % FPS == 0
    else:
        assert not dropped
    assert delay(shown[-1]) == pytest.approx(delay(before[-1]), abs=0.5)


def delay(item: object) -> float:
    """Seconds from the timestamp of a picture to its arrival; the clocks have different origins."""
    assert isinstance(item, DecodedFrame) and item.stream_seconds is not None
    return item.arrived_at - item.stream_seconds
