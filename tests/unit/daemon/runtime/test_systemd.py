import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.runtime.systemd import Systemd


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder for sockets, whose path the kernel limits to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="facend-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_reach_the_socket_of_systemd(socket_folder, abstract):
    """READY, STATUS, WATCHDOG and STOPPING arrive as sd_notify(3) words them, whatever the socket's name."""
    name = f"@facend-test-{os.getpid()}" if abstract else str(socket_folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if abstract else name)
        systemd = Systemd({"NOTIFY_SOCKET": name})
        systemd.ready("2 cameras")
        systemd.status("1 camera is down")
        systemd.alive()
        systemd.stopping()
        received = [listener.recv(1000).decode() for _ in range(4)]
    assert received == [
        "READY=1\nSTATUS=2 cameras",
        "STATUS=1 camera is down",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_without_systemd_nothing_is_sent():
    """Started by hand there is no socket, and no error."""
    systemd = Systemd({})
    systemd.ready("on")
    assert systemd.watchdog_seconds is None


def test_the_watchdog_interval_counts_only_when_it_is_meant_for_this_process():
    """WATCHDOG_USEC of a parent process is not ours."""
    assert Systemd({"WATCHDOG_USEC": "30000000"}).watchdog_seconds == 30
    assert Systemd({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None


def test_a_short_watchdog_hears_from_us_more_often():
    """Three signs of life fit into the watchdog's interval, and without one the usual pace is kept."""
    assert Systemd({"WATCHDOG_USEC": "3000000"}).interval_seconds(2) == 1
    assert Systemd({"WATCHDOG_USEC": "30000000"}).interval_seconds(2) == 2
    assert Systemd({}).interval_seconds(2) == 2


def test_a_line_break_in_a_status_is_no_second_assignment(socket_folder):
    """What a server answered may have several lines; systemd reads it as one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(socket_folder / "notify"))
        Systemd({"NOTIFY_SOCKET": str(socket_folder / "notify")}).status("store away:\nSTOPPING=1")
        assert listener.recv(1000) == b"STATUS=store away: STOPPING=1"


def test_a_service_manager_that_cannot_be_reached_stops_nothing(socket_folder):
    """A missing socket or a full queue is logged once, and neither blocks nor raises."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, capture_logs() as logs:
        listener.bind(str(socket_folder / "full"))
        full = Systemd({"NOTIFY_SOCKET": str(socket_folder / "full")})
        for _ in range(2000):
            full.alive()
    assert [line["event"] for line in logs] == ["systemd cannot be notified"]

    gone = Systemd({"NOTIFY_SOCKET": str(socket_folder / "gone")})
    with capture_logs() as logs:
        gone.alive()
        gone.alive()
    assert len(logs) == 1
