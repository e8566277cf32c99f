"""Whom the next run blames for a crash. The crash itself is in tests/end_to_end/test_crash.py."""

import faulthandler
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cameras.settings import CameraSettings
from daemon.crashes import FORGET_SECONDS, HOLD_SECONDS, CrashNotes

DOOR = CameraSettings.model_validate({"id": "door", "url": "rtsp://viewer:s3cret@10.0.0.7/main"})
HALL = CameraSettings.model_validate({"id": "hall", "url": "rtsp://10.0.0.8/main"})


@pytest.fixture(autouse=True)
def faulthandler_as_before() -> Iterator[None]:
    yield
    faulthandler.enable()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def run_that_crashes(folder: Path, clock: Clock, camera: CameraSettings) -> CrashNotes:
    """A run whose report says what faulthandler writes; gives the notes of the next run."""
    notes = CrashNotes(folder, clock)
    notes.begin()
    notes.runs(HALL if camera is DOOR else DOOR, 1)
    notes.runs(camera, threading.get_ident())
    with (folder / "crash.txt").open("w") as report:
        report.write("Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n\n")
        faulthandler.dump_traceback(report, all_threads=True)
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
    assert "Current thread" in lines[0]["where"]
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
    """Nor does one whose crash was in no camera's thread, such as the watchdog's signal; that is told."""
    notes = CrashNotes(tmp_path)
    notes.begin()
    notes.runs(DOOR, 1)
    with capture_logs() as lines:
        CrashNotes(tmp_path).begin()
        (tmp_path / "crash.txt").write_text("Fatal Python error: Aborted\n\nCurrent thread 0x7 (most recent")
        CrashNotes(tmp_path).begin()
    assert [line["event"] for line in lines] == ["the last run crashed"]
    assert "camera" not in lines[0]
    assert not (tmp_path / "crashes.json").exists()


def test_a_camera_whose_hanging_ends_the_process_is_blamed_as_well(tmp_path: Path) -> None:
    """The run before says so itself, before the watchdog ends it."""
    for _ in range(2):
        notes = CrashNotes(tmp_path)
        notes.begin()
        notes.blame(DOOR)
    assert notes.held_seconds(DOOR) > 0


def test_a_camera_starts_although_its_thread_cannot_be_noted(tmp_path: Path) -> None:
    """A full disk: the camera runs, and the log names it with the reason."""
    notes = CrashNotes(tmp_path / "gone")
    with capture_logs() as logs:
        notes.runs(DOOR, 1)
    assert [(line["event"], line["camera"]) for line in logs] == [
        ("a camera's thread cannot be noted", "door")
    ]
    assert "No such file" in logs[0]["reason"]
