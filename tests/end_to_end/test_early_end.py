"""Signals before the service runs: while the program loads, and while models come."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon_process import FACEND, wait_for, write_settings


@contextmanager
def started(settings: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [FACEND, "run", "--settings", settings],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a shell starts what Ctrl-C is to reach
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def takes_sigterm(process: subprocess.Popen[str]) -> bool:
    """Whether it has a handler for SIGTERM, from /proc."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (caught,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> signal.SIGTERM - 1 & 1)


def test_a_service_that_is_stopped_while_it_loads_ends_well(tmp_path: Path) -> None:
    """SIGTERM during startup: status 0 as at any other time, and no error."""
    with started(write_settings(tmp_path, [])) as process:
        wait_for("a handler for SIGTERM", lambda: takes_sigterm(process), 20, pause=0.001)
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert not (tmp_path / "data" / "mongod").exists()


def test_a_reload_while_it_loads_ends_nothing(tmp_path: Path) -> None:
    """SIGHUP during startup: the process continues until SIGTERM."""
    with started(write_settings(tmp_path, [])) as process:
        wait_for("a handler for SIGTERM", lambda: takes_sigterm(process), 20, pause=0.001)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_download_of_models_is_broken_off(tmp_path: Path, number: int, status: int) -> None:
    """An index that never answers. Ctrl-C reaches pip as well; no error about missing models is printed."""
    settings = write_settings(tmp_path, [], models={"folder": str(tmp_path / "models")})
    with socket.create_server(("127.0.0.1", 0)) as index:
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        with started(settings, PIP_INDEX_URL=url, PIP_CONFIG_FILE=os.devnull) as process:
            index.settimeout(60)
            question, _ = index.accept()
            (pip,) = children(process)
            began = time.monotonic()
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            _, said = process.communicate(timeout=20)
            question.close()
    assert process.returncode == status
    assert "was not found with the sha256" not in said
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{pip}").exists()
    assert not list((tmp_path / "models").glob(".fetch*"))
