"""What the daemon says of itself changes nothing."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cameras.settings import CameraSettings
from daemon.app import Application
from daemon.health import DaemonHealth
from daemon.runtime.crashes import CrashNotes

CAMERAS = [CameraSettings.model_validate({"id": name, "url": "rtsp://10.0.0.7/main"}) for name in ("a", "b")]


def hanging(folder: Path) -> Application:
    """A daemon in which two cameras hang in turns, as far as its health goes."""
    app = Application.__new__(Application)
    turn = iter(range(1000))
    parts: Any = SimpleNamespace(
        analysis=SimpleNamespace(turned_at=float("inf"), busy_with=""),
        supervisor=SimpleNamespace(hung=lambda: (CAMERAS[next(turn) % 2], 99.0)),
        crashes=CrashNotes(folder),
    )
    app._parts, app._noted_hung = parts, set()
    app._health = DaemonHealth(parts, 1_000_000, None)
    return app


def test_asking_for_health_writes_nothing(tmp_path: Path) -> None:
    """However often, and whichever camera hangs."""
    app = hanging(tmp_path)
    assert {app._health.stuck() for _ in range(10)} == {
        "the thread of the camera a has hung for 99 s",
        "the thread of the camera b has hung for 99 s",
    }
    assert list(tmp_path.iterdir()) == []


def test_each_hanging_camera_is_noted_once(tmp_path: Path) -> None:
    """By the daemon's own round, which writes off the loop."""
    app = hanging(tmp_path)

    async def rounds() -> None:
        for _ in range(10):
            await app._note_hung_camera()

    asyncio.run(rounds())
    notes = (tmp_path / "crashes.json").read_text()
    assert notes.count('"crashes": 1') == 2
