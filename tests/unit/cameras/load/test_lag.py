"""Dropping packets of a live stream that cannot be decoded in time."""

from collections.abc import Iterable
from itertools import repeat

import pytest

from cameras.load.decode_load import DecodeLoad
from cameras.load.lag import LagLimiter

FPS = 25
BEGAN = 10_000.0


class Camera:
    """Packets at 25 a second with a key frame each second, read some time after they were sent."""

    def __init__(self, clock: float = 1.0) -> None:
        """clock: how fast the camera's own goes."""
        self.decode_load = DecodeLoad()
        self.in_view = False
        self.backlog = LagLimiter(self.decode_load, lambda: self.in_view)
        self.clock = clock
        self.number = 0

    def sends(self, lags: Iterable[float], timestamps: bool = True) -> str:
        """A packet for each of these lags, seconds. What becomes of them: K and . are decoded, _ is not."""
        said = ""
        for lag in lags:
            sent = self.number / FPS
            key = self.number % FPS == 0
            stamp = 500.0 + sent * self.clock if timestamps else None
            left_out = self.backlog.drops(key, stamp, BEGAN + sent + lag)
            said += "_" if left_out else "K" if key else "."
            self.number += 1
        return said


@pytest.fixture
def camera() -> Camera:
    """One that kept up for two seconds."""
    camera = Camera()
    assert "_" not in camera.sends([0.05, 0.02] * FPS)
    camera.decode_load.behind = True
    return camera


def test_late_packets_are_dropped_until_a_key_frame_in_time(camera: Camera) -> None:
    """Decoding does not continue at a key frame that is late too."""
    late = [0.5, 0.9, 1.1, *[1.5] * 22, *[0.8] * 25]
    assert camera.sends(late) == "K." + "_" * 48
    assert camera.sends([0.25] * 30) == "K" + "." * 24 + "K" + "." * 4


def test_a_thread_that_keeps_up_drops_nothing(camera: Camera) -> None:
    """The network was late; decoding catches up."""
    camera.decode_load.behind = False
    assert "_" not in camera.sends([5.0, 4.0, 3.0, 2.0, 1.5] * 5)


def test_the_limit_is_higher_while_a_face_is_in_view(camera: Camera) -> None:
    camera.in_view = True
    assert "_" not in camera.sends([1.9] * 25)
    assert camera.sends([2.1] * 3) == "___"


def test_a_slowly_growing_lag_is_detected(camera: Camera) -> None:
    """Three percent too many frames."""
    said = camera.sends([0.02 + 0.03 * number / FPS for number in range(60 * FPS)])
    assert 40 * FPS < said.index("_") < 60 * FPS


@pytest.mark.parametrize("clock", [0.99, 0.9995, 1.0005])
def test_an_inaccurate_camera_clock_is_no_lag(clock: float) -> None:
    """Neither is a camera that sends slightly fewer frames than announced."""
    camera = Camera(clock)
    camera.decode_load.behind = True
    assert "_" not in camera.sends([0.02] * FPS * 3600)


@pytest.mark.parametrize("later", [0.5, 1.5, 5.0])
def test_a_slower_network_stops_decoding_for_five_seconds_at_most(camera: Camera, later: float) -> None:
    """The lag does not shrink although packets are dropped, so it becomes the new baseline."""
    camera.sends([later + 1.5])
    said = camera.sends(repeat(later, 10 * FPS))
    assert "_" not in said[7 * FPS :]


def test_decoding_continues_at_a_large_key_frame_that_is_always_late(camera: Camera) -> None:
    """Key frames are large, and on a slow link always later than other packets."""
    camera.sends([1.5])
    lags = [0.02 if number % FPS else 0.4 for number in range(camera.number, camera.number + 60 * FPS)]
    said = camera.sends(lags)
    assert "_" not in said[7 * FPS :]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_streams_clock_resets_the_baseline(camera: Camera, jump: float) -> None:
    assert "_" not in camera.sends([0.05 + jump] * 50)
    assert camera.sends([1.2 + jump] * 2) == "__"


def test_without_timestamps_nothing_is_dropped(camera: Camera) -> None:
    """Packets without timestamps are decoded, and dropping ends at the next key frame."""
    assert "_" not in camera.sends([5.0] * 50, timestamps=False)
    assert camera.sends([1.5] * 3) == "___"
    assert camera.sends([1.5] * 23, timestamps=False) == "_" * 22 + "K"
