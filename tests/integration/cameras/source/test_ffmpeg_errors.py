"""The fault table of docs/cameras.md, row by row, against a real RTSP server."""

import asyncio
import gc
import re
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cameras.observer import CameraState
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.reachability import ReachabilityProbe
from tests.integration.cameras.conftest import Camera
from tests.integration.cameras.fault_rows import ROWS, Row
from tests.integration.cameras.fault_stage import BACK, LOGIN, LOST, Stage, resolve, write_clips
from tests.rtsp import rtsp_server

DOCUMENT = Path(__file__).parents[4] / "docs" / "cameras.md"


@dataclass
class Played:
    """Results of all rows, which run concurrently."""

    rows: dict[str, Future[None]]
    dns: Future[list[str]]
    witness: Camera
    lines: list[Any]
    left_behind: list[str]


def camera_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("camera ")}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def probe_reachability(stages: list[Stage]) -> None:
    """As the daemon does."""
    probe = ReachabilityProbe(lambda: [camera.handler for stage in stages for camera in stage.cameras])
    await probe.run()


@contextmanager
def in_background(work: Coroutine[None, None, None]) -> Iterator[None]:
    """Run work on an event loop in another thread until the end of the block; its exceptions propagate."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.wait([task]),))
    thread.start()
    yield
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()
    assert task.cancelled(), task.exception()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("faults")
    clips = write_clips(folder)
    hall = {"hall": clips["hall"]}
    with (
        rtsp_server(clips, *LOGIN.split(":")) as server,
        rtsp_server(hall) as mortal,
        capture_logs() as lines,
        ThreadPoolExecutor(len(ROWS) + 1) as pool,
        ExitStack() as stack,
    ):
        files = open_files()
        witness = Camera(CameraSettings(id="witness", url=server.url("hall", LOGIN)))
        witness.handler.start()

        stages: list[Stage] = []

        def stage(name: str) -> Stage:
            stages.append(Stage(name, server, mortal, clips, folder, stack.enter_context(ExitStack())))
            return stages[-1]

        stack.enter_context(in_background(probe_reachability(stages)))
        rows = {row.name: pool.submit(row.play, stage(row.name)) for row in ROWS}
        dns = pool.submit(resolve, stage("dns"))
        for future in (*rows.values(), dns):
            future.exception()
        stack.close()
        witness.wait_for(lambda status: status.state is CameraState.GREEN, 1)
        witness.handler.stop(15)
        left = [f"thread {name}" for name in camera_threads()]
        left += [f"{open_files() - files} open files"] if open_files() > files else []
        gc.collect()
        left += [
            f"a stream of {type(held).__name__}"
            for held in gc.get_objects()
            if issubclass(type(held), FFmpegSource)  # no proxy is asked for its class
        ]
        yield Played(rows, dns, witness, lines, left)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_fault_shows_and_heals(played: Played, row: Row) -> None:
    """State and reason within 5 s, frames within 5 s after the fault has ended, and one log line for each."""
    played.rows[row.name].result()
    told = [
        line["event"]
        for line in played.lines
        if line.get("camera") == row.name and line["log_level"] != "debug"
    ]
    assert [event for event in told if event != "camera is connected"] == list(row.lines)


def test_a_name_that_cannot_be_resolved_shows_and_heals(played: Played) -> None:
    """DNS fails, then works, in a process with its own resolver."""
    assert played.dns.result() == [LOST, BACK]


def test_other_cameras_are_not_affected(played: Played) -> None:
    """A camera on the same server stays green."""
    assert played.witness.states == ["green", "grey:stopped"]
    assert played.witness.reconnects == []


def test_threads_files_and_decoders_are_released(played: Played) -> None:
    """After the cameras are stopped."""
    assert played.left_behind == []


def test_every_row_is_documented() -> None:
    """docs/cameras.md has the same rows as the tests."""
    documented = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert set(documented) == {row.name for row in ROWS} | {"dns"}
