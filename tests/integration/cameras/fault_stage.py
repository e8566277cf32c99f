"""The setup for the rows of the fault table: cameras, proxies, and ways to damage a stream."""

import http.server
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from cameras.clips.write import write_clip
from cameras.observer import CameraState, CameraStatus
from cameras.settings import CameraSettings
from pipeline.types import Frame, Picture
from tests.clips import moving_pictures
from tests.integration.cameras.conftest import Camera
from tests.rtsp import RtspServer, nss_wrapper
from tests.tcp_proxy import Spoil, TcpProxy, tcp_proxy

VISIBLE_SECONDS = 5.0
HEALED_SECONDS = 5.0
SLOW_START_SECONDS = 10
LOGIN = "cam:s3cr3t"
LOST, BACK = "camera gives no frames", "camera is back"
SCRIPT = Path(__file__).with_name("resolving_camera.py")

GREEN, YELLOW, RED, GREY = CameraState.GREEN, CameraState.YELLOW, CameraState.RED, CameraState.GREY


def write_clips(folder: Path) -> dict[str, Path]:
    """The clips that the cameras send, by name."""
    clips = {name: folder / f"{name}.mp4" for name in ("hall", "big", "loud", "fast", "slow", "late", "hevc")}
    write_clip(clips["hall"], moving_pictures(40, 160, 120), 10)
    write_clip(clips["big"], moving_pictures(20, 320, 240), 10)
    write_clip(clips["loud"], _noisy_pictures(20), 10)
    write_clip(clips["fast"], moving_pictures(60, 160, 120), 60)
    write_clip(clips["slow"], moving_pictures(4, 160, 120), 0.2, key_frame_seconds=5)
    seconds = SLOW_START_SECONDS
    write_clip(clips["late"], moving_pictures(10 * seconds, 160, 120), 10, key_frame_seconds=seconds)
    _write_h265(clips["hevc"])
    return clips


def _noisy_pictures(count: int) -> Iterator[Picture]:
    """Pictures of several packets each, like a camera's."""
    wall = np.random.default_rng(3).integers(0, 255, (120, 300, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    for number in range(count):
        yield np.ascontiguousarray(wall[:, number * 6 : number * 6 + 320])


def _write_h265(path: Path) -> None:
    with av.open(str(path), "w") as container:
        quiet = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=10:bframes=0"}
        stream = container.add_stream("libx265", rate=10, options=quiet)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in moving_pictures(20, 160, 120):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))


@dataclass
class Stage:
    """What a row plays with. Everything ends with the stage."""

    name: str
    server: RtspServer
    """With a login; no test kills it."""
    mortal: RtspServer
    clips: dict[str, Path]
    folder: Path
    stack: ExitStack
    cameras: list[Camera] = field(default_factory=list)

    def proxy(self, *, listening: bool = True) -> TcpProxy:
        return self.stack.enter_context(tcp_proxy(self.server.port, listening=listening))

    def camera(
        self, path: str = "hall", proxy: TcpProxy | None = None, url: str = "", max_fps: float = 120
    ) -> Camera:
        """A camera that runs, with default settings."""
        place = f"rtsp://{LOGIN}@127.0.0.1:{(proxy or self.server).port}/{path}"
        number = f"-{len(self.cameras)}" if self.cameras else ""
        camera = Camera(CameraSettings(id=self.name + number, url=url or place, max_fps=max_fps))
        self.cameras.append(camera)
        self.stack.callback(lambda: camera.handler.stop(15))
        camera.handler.start()
        return camera

    def green(self, *args: object, **given: object) -> Camera:
        """A camera that already gives frames."""
        camera = self.camera(*args, **given)  # type: ignore[arg-type]  # passed on as they are
        camera.wait_for(lambda status: status.state is GREEN, 10)
        return camera


def shows(camera: Camera, reason: str, *states: CameraState) -> CameraStatus:
    """Wait until the camera has this state and reason; fails if it takes too long."""

    def visible(status: CameraStatus) -> bool:
        return status.reason == reason and status.state in (states or (YELLOW, RED))

    return camera.wait_for(visible, VISIBLE_SECONDS)


def heals(camera: Camera) -> None:
    """Wait until the camera delivers frames again; fails if it takes too long."""
    before = camera.handler.status.frames_decoded
    camera.wait_for(lambda status: status.state is GREEN and status.frames_decoded > before, HEALED_SECONDS)


def loss(packet: bytearray) -> bytearray | None:
    return None if random.random() < 0.1 else packet  # noqa: S311 - no secret


def corruption(packet: bytearray) -> bytearray:
    if random.random() < 0.3:  # noqa: S311 - no secret
        for place in random.sample(range(14, len(packet)), min(4, len(packet) - 14)):
            packet[place] ^= 0xFF
    return packet


def as_h265(packet: bytearray) -> bytearray:
    """Begins as a key picture of H.265 (RFC 7798, 4.4), which says nothing to a decoder of H.264."""
    packet[12:14] = b"\x26\x01"
    return packet


def shifted(seconds: float) -> Spoil:
    """Add `seconds` to every RTP timestamp (RFC 3550, 5.1; 90 kHz)."""

    def spoil(packet: bytearray) -> bytearray:
        stamp = int.from_bytes(packet[4:8], "big") + round(seconds * 90_000)
        packet[4:8] = (stamp % 2**32).to_bytes(4, "big")
        return packet

    return spoil


def repeated() -> Spoil:
    """Replace all timestamps by the first one."""
    first: list[bytes] = []

    def spoil(packet: bytearray) -> bytearray:
        first[:] = first or [bytes(packet[4:8])]
        packet[4:8] = first[0]
        return packet

    return spoil


def keeps_time(camera: Camera, seconds: float) -> list[Frame]:
    """Check that frames arrive, each with the current time and later than the one before; returns the
    frames."""
    frames: list[Frame] = []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        camera.filled.wait(left)
        camera.filled.clear()
        while (item := camera.slot.take()) is not None:
            if isinstance(item, Frame):
                assert abs(time.time() - item.captured_at.timestamp()) < 2
                frames.append(item)
    assert len(frames) > 5 * seconds
    for earlier, later in pairwise(frames):
        assert later.captured_at > earlier.captured_at
        assert later.media_time > earlier.media_time
    assert camera.states[-1] == "green"
    assert camera.reconnects == []
    return frames


def stays_green(camera: Camera, seconds: float) -> None:
    seen = len(camera.states)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert camera.handler.status.state is GREEN, camera.handler.status
        time.sleep(0.05)
    assert camera.states[seen:] == []


@contextmanager
def jpeg_camera() -> Iterator[str]:
    pictures = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in moving_pictures(10, 160, 120)]

    class Live(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
            self.end_headers()
            try:
                for number in range(1000):
                    picture = pictures[number % len(pictures)]
                    head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(0.1)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Live) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/live"
        finally:
            server.shutdown()
            thread.join()


def resolve(stage: Stage) -> list[str]:
    """Run a camera whose host name cannot be resolved at first; returns the logged events."""
    library = nss_wrapper()
    hosts = stage.folder / "hosts"
    hosts.write_text("127.0.0.1 somebody.invalid\n")
    url = f"rtsp://{LOGIN}@camera.invalid:{stage.server.port}/hall"
    environment = {**os.environ, "LD_PRELOAD": str(library), "NSS_WRAPPER_HOSTS": str(hosts)}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    told: list[dict[str, str]] = []
    watchdog = threading.Timer(40, process.kill)
    watchdog.start()
    try:
        since = time.monotonic()
        for line in process.stdout:
            told.append(json.loads(line))
            match told[-1]:
                case {"event": "state", "reason": "dns"}:
                    # A partial read would not be repeated: the modification time has a resolution of seconds.
                    meant = hosts.with_name("hosts that mean something")
                    meant.write_text("127.0.0.1 camera.invalid\n")
                    meant.replace(hosts)
                    since = time.monotonic()
                case {"event": "state", "state": "green"}:
                    break
        assert time.monotonic() - since < HEALED_SECONDS, told
    finally:
        watchdog.cancel()
        process.communicate()
    assert "red dns" in [f"{line.get('state')} {line.get('reason')}" for line in told]
    return [line["event"] for line in told if line["event"] not in ("state", "camera is connected")]
