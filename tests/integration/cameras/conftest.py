import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cameras.clips.write import write_clip
from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState, CameraStatus, UnobservedCamera
from cameras.settings import CameraSettings
from tests.clips import moving_pictures


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, 320×240, 25 frames a second, H.264, one key frame a second."""
    path = tmp_path_factory.mktemp("clips") / "hall.mp4"
    write_clip(path, moving_pictures(100), 25)
    return path


@dataclass
class Camera(UnobservedCamera):
    """A running handler, its events, and its slot."""

    settings: CameraSettings
    reconnects: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.filled = threading.Event()
        self.slot = LatestFrame(self.settings.id, self, self.filled.set)
        self.handler = CameraHandler(self.settings, self.slot, self)

    def reconnect(self, cam_id: str, reason: str) -> None:
        self.reconnects.append(reason)

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        self.states.append(f"{state}:{reason}" if reason else str(state))

    def wait_for(self, condition: Callable[[CameraStatus], bool], seconds: float) -> CameraStatus:
        """The first status for which the condition holds; fails after `seconds`."""
        patience = threading.Event()
        for _ in range(int(seconds * 50)):
            self.handler.refresh()
            status = self.handler.status
            if condition(status):
                return status
            patience.wait(0.02)
        raise AssertionError(f"not within {seconds} s: {self.handler.status} {self.states} {self.reconnects}")


@pytest.fixture
def start() -> Iterator[Callable[..., Camera]]:
    """Starts a camera with these settings, which hands over every frame unless they say otherwise; every one
    is stopped at the end of the test."""
    cameras: list[Camera] = []

    def begin(url: str, **given: object) -> Camera:
        camera = Camera(
            CameraSettings.model_validate(
                {"id": "hall", "url": url, "connect_timeout_seconds": 5, "max_fps": 120, **given}
            )
        )
        cameras.append(camera)
        camera.handler.start()
        return camera

    yield begin
    for camera in cameras:
        camera.handler.stop()
