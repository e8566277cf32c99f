"""Repeated reconnects of cameras, and the resources of the process after them."""

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState, UnobservedCamera
from cameras.settings import CameraSettings
from pipeline.base.backoff import Backoff
from tests.daemon_process import wait_for
from tests.own_memory import own_kibibytes
from tests.rtsp import RtspServer


@dataclass(frozen=True)
class Held:
    """Resources of the process at a moment."""

    threads: int
    files: int
    kibibytes: int
    """Private memory, after the allocator was trimmed."""


def held() -> Held:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return Held(threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), own_kibibytes())


@contextmanager
def cameras_on(server: RtspServer, count: int) -> Iterator[list[CameraHandler]]:
    """Running cameras that reconnect without a pause."""
    cameras = []
    for number in range(count):
        settings = CameraSettings(id=f"camera-{number}", url=server.url("hall"))
        slot = LatestFrame(settings.id)
        cameras.append(CameraHandler(settings, slot, UnobservedCamera(), backoff=Backoff(0.01, 0.02)))
        cameras[-1].start()
    try:
        for camera in cameras:
            wait_for("frames", lambda camera=camera: camera.status.state is CameraState.GREEN, 30)  # type: ignore[misc]
        yield cameras
    finally:
        for camera in cameras:
            camera.stop(10)


def lose_all(server: RtspServer, cameras: list[CameraHandler]) -> None:
    """Closes all connections, and waits until all cameras have frames again."""
    before = [(camera.status.reconnects, camera.status.frames_decoded) for camera in cameras]
    server.command("cut")
    for camera, (reconnects, frames) in zip(cameras, before, strict=True):

        def back(camera: CameraHandler = camera, reconnects: int = reconnects, frames: int = frames) -> bool:
            status = camera.status
            back = status.reconnects > reconnects and status.frames_decoded > frames
            return back and status.state is CameraState.GREEN

        wait_for(f"{camera.settings.id} is back", back, 30)
