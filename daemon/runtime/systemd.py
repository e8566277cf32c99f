"""What systemd hears from us: sd_notify(3), one datagram a message.

The protocol is a datagram of `KEY=value` lines to the socket in NOTIFY_SOCKET; a
name that begins with `@` is in the abstract namespace. Without that variable
nothing is sent.
"""

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 60
"""How long systemd waits for the next word of a start that takes its time."""


class Systemd:
    """The service manager's socket, or nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        wanted = microseconds.isdigit() and meant_for == str(os.getpid())
        self.watchdog_seconds: float | None = int(microseconds) / 1e6 if wanted else None
        self._unheard = False

    def often_enough(self, seconds: float) -> float:
        """So many seconds, or fewer where the watchdog wants to hear from us more often than that."""
        return min(seconds, (self.watchdog_seconds or seconds * 3) / 3)

    def still_starting(self, status: str) -> None:
        """Not ready yet, and no reason to give up: the start may take longer than TimeoutStartSec."""
        self._send(f"EXTEND_TIMEOUT_USEC={PATIENCE_SECONDS * 1_000_000}\nSTATUS={_line(status)}")

    def ready(self, status: str) -> None:
        """The start, or reading the settings again, is over."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """The settings are read again; `ready` has to follow, however that ends."""
        # The time lets systemd tell this reload from an earlier one; Type=notify-reload demands it.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the settings again")

    def status(self, status: str) -> None:
        """One plain line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)  # a service manager that does not read must not stop the loop
                channel.connect(address)
                channel.send(message.encode())
        except OSError as error:
            if not self._unheard:
                log.warning("systemd cannot be told how we are", reason=str(error))
            self._unheard = True
        else:
            self._unheard = False


def _line(status: str) -> str:
    """A line break would begin another assignment of the protocol."""
    return " ".join(status.split())
