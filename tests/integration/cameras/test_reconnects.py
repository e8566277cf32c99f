"""Cameras that are lost repeatedly."""

import os
import subprocess
import sys


def test_reconnects_leave_nothing_behind() -> None:
    """Thirty of them, after some to warm up: not a thread, a file or a mebibyte more.

    In a process of its own, which holds nothing of other tests.
    """
    command = [sys.executable, "-m", "tests.bench.bench_reconnects", "--times", "30", "--cameras", "3"]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # as systemd/facend.service sets it
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = [[int(cell) for cell in line.split()] for line in done.stdout.splitlines()[1:]]
    (begun, *before), (_, *after) = rows[0][:4], rows[-1][:4]
    assert (begun, rows[-1][0]) == (0, 30)
    threads, files, kibibytes = (late - early for early, late in zip(before, after, strict=True))
    assert threads <= 0
    assert files <= 0
    assert kibibytes <= 1024
