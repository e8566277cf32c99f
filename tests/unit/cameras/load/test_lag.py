"""What is left out of a live stream that cannot be decoded in time."""

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


def test_what_is_late_is_left_out_up_to_a_key_frame_in_time(camera: Camera) -> None:
    """The key frame that is still late is none to go on with."""
    late = [0.5, 0.9, 1.1, *[1.5] * 22, *[0.8] * 25]
    assert camera.sends(late) == "K." + "_" * 48
    assert camera.sends([0.25] * 30) == "K" + "." * 24 + "K" + "." * 4


def test_where_the_thread_keeps_up_nothing_is_left_out(camera: Camera) -> None:
    """Then the network was held up: what it brings late is decoded, and it catches up."""
    camera.decode_load.behind = False
    assert "_" not in camera.sends([5.0, 4.0, 3.0, 2.0, 1.5] * 5)


def test_a_face_in_view_is_left_out_last(camera: Camera) -> None:
    camera.in_view = True
    assert "_" not in camera.sends([1.9] * 25)
    assert camera.sends([2.1] * 3) == "___"


def test_a_lag_that_grows_slowly_is_noticed(camera: Camera) -> None:
    """Three frames of a hundred too many."""
    said = camera.sends([0.02 + 0.03 * number / FPS for number in range(60 * FPS)])
    assert 40 * FPS < said.index("_") < 60 * FPS


@pytest.mark.parametrize("clock", [0.99, 0.9995, 1.0005])
def test_a_clock_that_is_not_exact_is_no_lag(clock: float) -> None:
    """Nor a camera that sends a little less than it says."""
    camera = Camera(clock)
    camera.decode_load.behind = True
    assert "_" not in camera.sends([0.02] * FPS * 3600)


@pytest.mark.parametrize("later", [0.5, 1.5, 5.0])
def test_a_network_that_becomes_slower_does_not_blind_the_camera(camera: Camera, later: float) -> None:
    """What is late for another reason is so still when much was left out; that ends after five seconds."""
    camera.sends([later + 1.5])
    said = camera.sends(repeat(later, 10 * FPS))
    assert "_" not in said[7 * FPS :]


def test_a_key_frame_that_takes_its_time_is_gone_on_with(camera: Camera) -> None:
    """It is large, and on a slow link always later than the others."""
    camera.sends([1.5])
    lags = [0.02 if number % FPS else 0.4 for number in range(camera.number, camera.number + 60 * FPS)]
    said = camera.sends(lags)
    assert "_" not in said[7 * FPS :]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_stream_whose_clock_is_set_begins_anew(camera: Camera, jump: float) -> None:
    assert "_" not in camera.sends([0.05 + jump] * 50)
    assert camera.sends([1.2 + jump] * 2) == "__"


def test_without_timestamps_nothing_is_dropped(camera: Camera) -> None:
    """Nothing is left out, and what was begun ends with the next key frame."""
    assert "_" not in camera.sends([5.0] * 50, timestamps=False)
    assert camera.sends([1.5] * 3) == "___"
    assert camera.sends([1.5] * 23, timestamps=False) == "_" * 22 + "K"
