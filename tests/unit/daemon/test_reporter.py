"""Hung cameras in the daemon's health and reports."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cameras.settings import CameraSettings
from daemon.health import DaemonHealth
from daemon.reporter import Reporter
from daemon.runtime.crashes import CrashNotes
from daemon.runtime.systemd import Systemd

CAMERAS = [CameraSettings.model_validate({"id": name, "url": "rtsp://10.0.0.7/main"}) for name in ("a", "b")]


@pytest.fixture
def components(tmp_path: Path) -> Any:
    """Components of a daemon in which two cameras hang, each reported in turn."""
    turn = iter(range(1000))
    return SimpleNamespace(
        analysis=SimpleNamespace(progress_at=float("inf"), current_camera=""),
        supervisor=SimpleNamespace(hung=lambda: (CAMERAS[next(turn) % 2], 99.0)),
        crashes=CrashNotes(tmp_path),
    )


def test_health_checks_write_nothing(components: Any, tmp_path: Path) -> None:
    """However often they run, and whichever camera hangs."""
    health = DaemonHealth(components, 1_000_000, None)
    assert {health.stuck() for _ in range(10)} == {
        "the thread of the camera a has hung for 99 s",
        "the thread of the camera b has hung for 99 s",
    }
    assert list(tmp_path.iterdir()) == []


def test_each_hung_camera_is_noted_once(components: Any, tmp_path: Path) -> None:
    """A note is written when a camera is first found to hang, not in later reports."""
    health = DaemonHealth(components, 1_000_000, None)

    async def report() -> None:
        reporter = Reporter(components, health, Systemd(), asyncio.Event())
        for _ in range(10):
            await reporter._note_hung_camera()

    asyncio.run(report())
    notes = (tmp_path / "crashes.json").read_text()
    assert notes.count('"crashes": 1') == 2
