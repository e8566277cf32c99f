"""Which cameras run, with real camera threads, files and models."""

import asyncio
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from cameras.clips.write import write_clip
from cameras.load.decode_load import DecodeLoad
from cameras.settings import CameraSettings
from daemon.analysis import Analysis
from daemon.config.settings import PipelineSettings
from daemon.events import EventBus
from daemon.runtime.metrics import COUNTED_EVENTS, Metrics
from daemon.supervisor import Supervisor
from store.spool.spool import Spool
from tests.clips import moving_pictures
from tests.daemon_process import wait_for
from tests.faces import default_models, walk


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of something that moves."""
    path = tmp_path_factory.mktemp("clips") / "hall.mp4"
    write_clip(path, moving_pictures(20, 160, 120), 10)
    return path


class Box:
    """A supervisor and what it works with."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics(version="0", pack="none", runtime="none")
        self.crashes: list[BaseException] = []
        spool = Spool(folder / "spool", 1 << 30, self.metrics)
        self.analysis = Analysis(spool, self.metrics, self.crashes.append)
        self.analysis.start()
        self.events = EventBus()
        self.events.handle("metrics", COUNTED_EVENTS, self.metrics.count_event)
        self.supervisor = Supervisor(
            default_models(), PipelineSettings(), self.analysis, self.metrics, self.events
        )

    def camera(self, cam_id):
        return next(camera for camera in self.supervisor.status() if camera.cam_id == cam_id)

    def ids(self):
        return [camera.cam_id for camera in self.supervisor.status()]

    def shown_states(self):
        """The cameras that have a state in the metrics."""
        samples = (sample for family in self.metrics.registry.collect() for sample in family.samples)
        return {s.labels["camera"] for s in samples if s.name == "facend_camera_state"}

    def analysed(self, cam_id):
        """Frames that went through the camera's stages."""
        return self.metrics.registry.get_sample_value("facend_frame_age_seconds_count", {"camera": cam_id})

    async def frames(self, cam_id, more=3):
        """Wait until the camera has decoded `more` frames."""
        wanted = self.camera(cam_id).frames_decoded + more
        async with asyncio.timeout(20):
            while self.camera(cam_id).frames_decoded < wanted:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.02)


@pytest.fixture
async def box(tmp_path):
    made = Box(tmp_path)
    yield made
    await made.supervisor.stop(5)
    assert await asyncio.to_thread(made.analysis.stop, 5)
    await made.events.close(5)
    assert made.crashes == []


def settings(clip, cam_id, **given):
    return CameraSettings.model_validate({"id": cam_id, "url": clip.as_uri(), "loop": True, **given})


async def test_the_cameras_that_are_wanted_run(box, clip):
    """Each gets its thread, and its frames are analysed."""
    await box.supervisor.apply([settings(clip, "hall"), settings(clip, "door")])
    await box.frames("hall")
    await box.frames("door")
    assert box.ids() == ["hall", "door"]
    assert box.camera("hall").state == "green"
    wait_for("an analysed frame", lambda: box.analysed("hall") and box.analysed("door"), 20)


async def test_a_camera_whose_settings_stay_is_not_touched(box, clip):
    """Its thread continues while others change: its count of frames does not restart."""
    await box.supervisor.apply([settings(clip, "hall"), settings(clip, "door")])
    await box.frames("hall", 5)
    before = box.camera("hall")
    await box.supervisor.apply(
        [settings(clip, "gate"), settings(clip, "hall"), settings(clip, "door", max_fps=1)]
    )
    after = box.camera("hall")
    assert after.frames_decoded >= before.frames_decoded >= 5
    assert after.since == before.since
    assert box.ids() == ["gate", "hall", "door"]
    await box.frames("gate")


async def test_a_camera_with_other_settings_begins_anew(box, clip):
    """The old thread ends, another one starts, and the log names it."""
    await box.supervisor.apply([settings(clip, "hall"), settings(clip, "gate")])
    await box.frames("hall", 5)
    with capture_logs() as lines:
        await box.supervisor.apply([settings(clip, "hall", max_fps=1), settings(clip, "door")])
        await box.supervisor.apply([settings(clip, "hall", max_fps=1), settings(clip, "door")])
    (said,) = [line for line in lines if line["event"] == "these cameras change"]
    assert (said["added"], said["changed"], said["removed"]) == (["door"], ["hall"], ["gate"])
    assert box.camera("hall").frames_decoded < 5
    await box.frames("hall")


async def test_a_camera_that_is_back_while_its_connection_is_silent_is_opened_anew(box, monkeypatch):
    """Another thread takes over."""
    monkeypatch.setattr("cameras.status.watchdog.SILENT_SECONDS", 0.3)
    monkeypatch.setattr("cameras.source.reachability.TIMEOUT_SECONDS", 0.3)
    back, free = False, asyncio.Event()

    async def serve(reader, writer):
        if back:
            writer.write(b"RTSP/1.0 454 Session Not Found\r\n\r\n")
        await free.wait()
        writer.close()

    supervisor = Supervisor(default_models(), PipelineSettings(), box.analysis, box.metrics, box.events)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
        looking_out = asyncio.create_task(supervisor.probe_reachability())
        await supervisor.apply([CameraSettings(id="hall", url=url)])
        await asyncio.sleep(1)
        assert supervisor.status()[0].reconnects == 0
        back = True
        async with asyncio.timeout(20):
            while not supervisor.status()[0].reconnects:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.05)
        looking_out.cancel()
        await supervisor.stop(1)
        free.set()


@pytest.fixture
async def silent():
    """The URL of a camera that takes connections and answers none of them."""
    free = asyncio.Event()

    async def serve(_reader, writer):
        await free.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
        free.set()


async def test_a_changed_camera_is_shown_while_its_old_connection_ends(box, clip, silent):
    """In status and metrics: one that is wanted is being opened, a disabled one is grey; a new one beside
    them shows at once, too."""
    cameras = [CameraSettings(id="hall", url=silent), CameraSettings(id="door", url=silent)]
    await box.supervisor.apply(cameras)
    await asyncio.sleep(0.2)
    wanted = [settings(clip, "gate"), *(camera.model_copy(update={"max_fps": 1}) for camera in cameras)]
    wanted[2] = wanted[2].model_copy(update={"enabled": False})
    change = asyncio.create_task(box.supervisor.apply(wanted, stop_seconds=0.5))
    await asyncio.sleep(0.1)
    shown = [(camera.cam_id, camera.state, camera.reason) for camera in box.supervisor.status()]
    assert not change.done()
    assert shown == [
        ("gate", "yellow", "connecting"),
        ("hall", "yellow", "connecting"),
        ("door", "grey", "disabled"),
    ]
    for cam_id, state, _ in shown:
        labels = {"camera": cam_id, "state": state}
        assert box.metrics.registry.get_sample_value("facend_camera_state", labels) == 1
    await change
    await box.frames("gate")
    assert box.camera("hall").state == "yellow"


async def test_many_cameras_that_hang_are_left_behind_as_soon_as_one(box, silent):
    """Each is inside FFmpeg; the end of all takes no longer than it may, and they show as stopped."""
    await box.supervisor.apply([CameraSettings(id=f"hall{number}", url=silent) for number in range(20)])
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await box.supervisor.stop(1)
    assert time.monotonic() - began < 2
    assert {camera.reason for camera in box.supervisor.status()} == {"stopped"}


async def test_a_camera_that_is_not_wanted_any_more_leaves_no_trace(box, clip):
    """Neither in the status nor in the gauge of states; the others stay."""
    await box.supervisor.apply([settings(clip, "hall"), settings(clip, "door")])
    await box.frames("hall")
    await box.frames("door")
    await box.supervisor.apply([settings(clip, "door")])
    assert box.ids() == ["door"]
    await asyncio.sleep(0.05)  # the event bus delivers the removal
    assert box.shown_states() == {"door"}


async def test_a_disabled_camera_is_grey(box, clip):
    """It is in the list, and nothing is read from it."""
    await box.supervisor.apply([settings(clip, "hall", enabled=False)])
    assert (box.camera("hall").state, box.camera("hall").reason) == ("grey", "disabled")
    assert box.camera("hall").frames_decoded == 0


async def test_a_camera_that_hangs_upside_down_says_so(box, clip, tmp_path):
    """Frames arrive, so it is green; the hint says that faces are found only when the picture is turned."""
    frames = [one.pixels.bgr() for start in range(0, 12, 2) for one in walk(start // 2, 2, fps=4)]
    turned = tmp_path / "turned.mp4"
    write_clip(turned, [np.asarray(cv2.rotate(one, cv2.ROTATE_180), np.uint8) for one in frames], 4)
    await box.supervisor.apply([settings(turned, "door", speed="fast"), settings(clip, "hall")])
    hint = await asyncio.to_thread(wait_for, "a hint", lambda: box.camera("door").hint, 20)
    assert hint == "the camera is mounted upside down: faces are found only in a picture rotated by 180°"
    assert box.camera("door").state == "green"
    assert box.camera("hall").hint == ""


async def test_a_camera_that_cannot_be_decoded_in_time_says_so(box, clip, monkeypatch):
    """Unless its settings request key frames only."""
    monkeypatch.setattr(DecodeLoad, "overloaded", True)
    await box.supervisor.apply([settings(clip, "hall"), settings(clip, "door", decode="keyframes")])
    await box.frames("hall")
    assert "only key frames while nothing happens" in box.camera("hall").hint
    assert box.camera("hall").state == "green"
    assert box.camera("door").hint == ""
    assert box.supervisor.overloaded() == {"hall": 1, "door": 0}
