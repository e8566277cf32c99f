"""Which camera the next run blames for a crash. The crash itself is in tests/end_to_end/test_crash.py."""

import faulthandler
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cameras.settings import CameraSettings
from cameras.source.crash_tag import with_crash_tag
from daemon.runtime.crashes import FORGET_SECONDS, HOLD_SECONDS, CrashNotes

DOOR = CameraSettings.model_validate({"id": "door", "url": "rtsp://viewer:s3cret@10.0.0.7/main"})
HALL = CameraSettings.model_validate({"id": "hall", "url": "rtsp://10.0.0.8/main"})


@pytest.fixture(autouse=True)
def faulthandler_as_before() -> Iterator[None]:
    yield
    faulthandler.enable()
    faulthandler.unregister(signal.SIGQUIT)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def run_that_crashes(folder: Path, clock: Clock, camera: CameraSettings) -> CrashNotes:
    """A run whose report says what faulthandler writes; gives the notes of the next run."""
    notes = CrashNotes(folder, clock)
    notes.begin()
    with (folder / "crash.txt").open("w") as report:
        report.write("Fatal Python error: Segmentation fault\n\n")
        report.flush()
        with_crash_tag(camera.crash_tag, faulthandler.dump_traceback)(report, all_threads=False)
    following = CrashNotes(folder, clock)
    following.begin()
    return following


def test_the_second_crash_in_a_cameras_thread_holds_it_back(tmp_path: Path) -> None:
    """For an hour, and no other camera; the log names it, without its password."""
    clock = Clock()
    with capture_logs() as lines:
        assert run_that_crashes(tmp_path, clock, DOOR).held_seconds(DOOR) == 0
        notes = run_that_crashes(tmp_path, clock, DOOR)
    assert notes.held_seconds(DOOR) == HOLD_SECONDS
    assert notes.held_seconds(HALL) == 0
    assert [line["camera"] for line in lines] == ["door", "door"]
    assert "most recent call first" in lines[0]["where"]
    clock.now += HOLD_SECONDS
    assert notes.held_seconds(DOOR) == 0
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "s3cret" not in kept + str(lines)


def test_changed_settings_and_a_day_without_crash_are_a_new_chance(tmp_path: Path) -> None:
    """Two crashes a day apart are no habit."""
    clock = Clock()
    run_that_crashes(tmp_path, clock, DOOR)
    clock.now += FORGET_SECONDS
    notes = run_that_crashes(tmp_path, clock, DOOR)
    assert notes.held_seconds(DOOR) == 0
    notes = run_that_crashes(tmp_path, clock, DOOR)
    assert notes.held_seconds(DOOR) > 0
    assert notes.held_seconds(DOOR.model_copy(update={"max_fps": 5})) == 0


def test_a_run_that_ended_well_blames_nobody(tmp_path: Path) -> None:
    """Nor does one whose crash was in no camera's thread, or that hung until the watchdog's signal came, with
    cameras' threads at their work. Both are told."""
    CrashNotes(tmp_path).begin()
    with capture_logs() as lines:
        CrashNotes(tmp_path).begin()
        (tmp_path / "crash.txt").write_text("Fatal Python error: Aborted\n\nStack (most recent call first):")
        CrashNotes(tmp_path).begin()
        with (tmp_path / "crash.txt").open("w") as report:
            with_crash_tag(DOOR.crash_tag, faulthandler.dump_traceback)(report, all_threads=False)
        CrashNotes(tmp_path).begin()
    assert [line["event"] for line in lines] == ["the last run crashed", "the last run hung"]
    assert not any("camera" in line for line in lines)
    assert "in camera door" in lines[1]["where"]
    assert not (tmp_path / "crashes.json").exists()


def test_a_camera_whose_hanging_ends_the_process_is_blamed_as_well(tmp_path: Path) -> None:
    """The run before says so itself, before the watchdog ends it."""
    for _ in range(2):
        notes = CrashNotes(tmp_path)
        notes.begin()
        notes.blame(DOOR)
    assert notes.held_seconds(DOOR) > 0


def test_the_hung_thread_is_logged_beside_many_others(tmp_path: Path) -> None:
    """faulthandler writes the newest thread first, and the main thread last."""
    other = "Thread 0x1 (most recent call first):\n" + '  File "/x.py", line 1 in wait\n' * 90
    current = 'Current thread 0x2 (most recent call first):\n  File "/x.py", line 2 in hangs\n'
    CrashNotes(tmp_path).begin()
    (tmp_path / "crash.txt").write_text("\n".join([*([other] * 20), current]))
    with capture_logs() as lines:
        CrashNotes(tmp_path).begin()
    assert lines[0]["event"] == "the last run hung"
    assert lines[0]["where"].startswith("Current thread ") and "in hangs" in lines[0]["where"]


CRASHING = """
import faulthandler, sys, threading
from pathlib import Path
from cameras.source.crash_tag import with_crash_tag
from daemon.runtime.crashes import CrashNotes

def busy(depth=0):
    while depth < 30:
        busy(depth + 1)

CrashNotes(Path(sys.argv[1])).begin()
for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
threading.Thread(target=with_crash_tag(sys.argv[2], faulthandler._sigsegv)).start()
"""

HANGING = """
import signal, sys
from pathlib import Path
from daemon.runtime.crashes import CrashNotes

def hangs():
    signal.raise_signal(signal.SIGQUIT)

signal.signal(signal.SIGQUIT, signal.SIG_IGN)
CrashNotes(Path(sys.argv[1])).begin()
hangs()
"""


def test_the_report_of_a_crash_is_whole_while_other_threads_run(tmp_path: Path) -> None:
    """It shows the thread that crashed alone, for to look at one that runs may end the report early."""
    command = [sys.executable, "-c", CRASHING, str(tmp_path), DOOR.crash_tag]
    assert subprocess.run(command, timeout=20, check=False).returncode == -signal.SIGSEGV
    with capture_logs() as lines:
        CrashNotes(tmp_path).begin()
    assert [(line["event"], line["camera"]) for line in lines] == [("the last run crashed", "door")]
    assert "in busy" not in lines[0]["where"]


def test_the_watchdogs_signal_ends_the_process_and_tells_where_it_hung(tmp_path: Path) -> None:
    """Also where it was ignored before, as a shell does for what it starts in the background."""
    done = subprocess.run([sys.executable, "-c", HANGING, str(tmp_path)], timeout=20, check=False)
    assert done.returncode == -signal.SIGQUIT
    with capture_logs() as lines:
        CrashNotes(tmp_path).begin()
    assert [line["event"] for line in lines] == ["the last run hung"]
    assert "in hangs" in lines[0]["where"]
