"""Reopening of silent cameras: scripted streams, and a real server that may not answer."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from cameras.errors import Reason
from cameras.latest_frame import EndOfStream, LatestFrame
from cameras.settings import CameraSettings
from cameras.source.reachability import ReachabilityProbe, is_reachable
from tests.daemon_process import wait_for
from tests.scripted_camera import (
    Notes,
    Script,
    ScriptedSource,
    Step,
    fault,
    handler,
    picture,
    settings,
    take_all,
)


class Host:
    """Accepts connections; answers while it is present."""

    def __init__(self) -> None:
        self.place = ""
        self.there = True
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.read(1000))
        if self.there:
            writer.write(b"RTSP/1.0 200 OK\r\n\r\n")
        await reader.read()
        writer.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    made = Host()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All intervals are a tenth of the real ones."""
    for name, seconds in {
        "source.connection_limiter.INTERVAL_SECONDS": 0.05,
        "source.reachability.INTERVAL_SECONDS": 0.05,
        "source.reachability.TIMEOUT_SECONDS": 1.0,
        "source.reachability.GRACE_SECONDS": 0.07,
        "status.watchdog.SILENT_SECONDS": 0.2,
        "status.watchdog.USUAL_GAPS": 1,
    }.items():
        monkeypatch.setattr(f"cameras.{name}", seconds)


class SlowToOpen(Script):
    """Like av.open: returns when the camera answers."""

    def __init__(self, hold: threading.Event) -> None:
        super().__init__([picture(0.0)])
        self._hold = hold

    def __call__(self, camera: CameraSettings) -> ScriptedSource:
        source = super().__call__(camera)
        self._hold.wait(20)
        return source


def a_moment() -> None:
    time.sleep(0.02)


class Watched:
    """A camera and a reachability probe for it."""

    def __init__(self, script: Script, url: str) -> None:
        self.notes = Notes()
        self.slot = LatestFrame("hall", self.notes)
        self.handler = handler(script, self.notes, self.slot, url=url)
        self.handler.start()
        self._probe = asyncio.create_task(ReachabilityProbe(lambda: [self.handler]).run())

    async def end(self) -> None:
        self._probe.cancel()
        await asyncio.wait([self._probe])
        self.handler.stop()
        assert self._probe.cancelled(), self._probe.exception()


async def test_a_hanging_stream_is_reopened_once_until_it_delivers_pictures(host: Host) -> None:
    """The camera answers all the time, so reopening it repeatedly would not help."""
    hold = threading.Event()
    script = Script([picture(0.0), lambda: hold.wait(20)], [lambda: hold.wait(20)])
    camera = Watched(script, f"rtsp://user:s3cr3t@{host.place}/live")
    await asyncio.sleep(1.5)
    assert script.opened == 2
    assert camera.notes.reconnects == ["stalled"]
    assert camera.notes.states[-1] == "yellow:stalled"
    assert set(host.asked) == {b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"}
    await camera.end()
    hold.set()


async def test_the_old_thread_has_no_effect_when_it_ends(host: Host) -> None:
    """It neither ends a track of the new run nor counts as a failure."""
    hold = threading.Event()
    again: list[Step] = [part for number in range(99) for part in (picture(number / 50), a_moment)]
    end = threading.Event()
    script = Script(
        [picture(0.0), lambda: hold.wait(20), fault(Reason.STALLED)], [*again, lambda: end.wait(20)]
    )
    camera = Watched(script, f"rtsp://{host.place}/live")
    (old,) = (thread for thread in threading.enumerate() if thread.name == "camera hall")
    await asyncio.to_thread(wait_for, "the new thread's pictures", lambda: camera.notes.decoded > 5, 10)
    take_all(camera.slot)
    hold.set()
    await asyncio.to_thread(old.join, 5)
    assert not old.is_alive()
    assert not any(isinstance(item, EndOfStream) for item in take_all(camera.slot))
    assert script.closed == 1
    assert camera.notes.states == ["green", "yellow:stalled", "green"]
    assert camera.handler.status.reconnects == 1
    await camera.end()
    end.set()


async def test_a_camera_that_is_slow_to_open_is_reopened_only_if_it_was_unreachable(host: Host) -> None:
    """It answers probes while it is being opened."""
    hold = threading.Event()
    script = SlowToOpen(hold)
    camera = Watched(script, f"http://{host.place}/live")
    await asyncio.sleep(0.8)
    assert host.asked and set(host.asked) == {b"HEAD / HTTP/1.0\r\n\r\n"}
    assert script.opened == 1
    host.there = False
    await asyncio.sleep(1.2)
    assert script.opened == 1
    host.there = True
    await asyncio.to_thread(wait_for, "another attempt", lambda: script.opened == 2, 5)
    host.there = False
    await asyncio.sleep(1.2)
    host.there = True
    await asyncio.sleep(0.5)
    assert script.opened == 2, "that one, too, was not let alone"
    await camera.end()
    hold.set()


async def test_an_answer_after_the_end_of_the_probe_is_no_error(host: Host) -> None:
    """The daemon may end while a probe is running."""
    failed: list[object] = []
    before, threading.excepthook = threading.excepthook, failed.append
    host.there, hold = False, threading.Event()
    camera = Watched(Script([picture(0.0), lambda: hold.wait(20)]), f"rtsp://{host.place}/live")
    await asyncio.to_thread(wait_for, "a question", lambda: host.asked, 5)
    asking = [thread for thread in threading.enumerate() if thread.name == "reachability of hall"]
    assert asking
    await camera.end()
    hold.set()
    for thread in asking:
        await asyncio.to_thread(thread.join, 5)
    threading.excepthook = before
    assert failed == []


def test_a_closed_port_and_an_unknown_host_are_unreachable() -> None:
    """The probe raises no exception."""
    for place in ("127.0.0.1:1", "no-such-host.invalid"):
        assert not is_reachable(settings(url=f"rtsps://{place}/live"))
