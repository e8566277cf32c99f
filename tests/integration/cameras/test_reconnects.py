"""Cameras that are lost again and again."""

from pathlib import Path

from tests.reconnects import cameras_on, held, lose_all
from tests.rtsp import rtsp_server


def test_reconnects_leave_nothing_behind(clip: Path) -> None:
    """Thirty of them, after some to warm up: not a thread, a file or a mebibyte more. For a thousand see
    tests/bench/bench_reconnects.py."""
    with rtsp_server({"hall": clip}) as server, cameras_on(server, 3) as cameras:
        for _ in range(4):
            lose_all(server, cameras)
        before = held()
        for _ in range(10):
            lose_all(server, cameras)
        after = held()
        assert sum(camera.status.reconnects for camera in cameras) >= 42
    assert (after.threads, after.files) == (before.threads, before.files)
    assert after.kibibytes - before.kibibytes <= 1024
