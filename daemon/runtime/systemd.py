"""Notifications to systemd: sd_notify(3).

A message is a datagram of `KEY=value` lines to the socket in NOTIFY_SOCKET; a name that begins with `@` is
in the abstract namespace. Without that variable nothing is sent.
"""

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)

START_EXTENSION_SECONDS = 60
"""By how much each message extends the start timeout."""


class Systemd:
    """Notifies the service manager; without one, all methods do nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        watched_pid = environment.get("WATCHDOG_PID", str(os.getpid()))
        is_watched = microseconds.isdigit() and watched_pid == str(os.getpid())
        self.watchdog_seconds: float | None = int(microseconds) / 1e6 if is_watched else None
        self._failing = False

    def interval_seconds(self, seconds: float) -> float:
        """The given interval, or a third of the watchdog's interval if that is shorter."""
        return min(seconds, (self.watchdog_seconds or seconds * 3) / 3)

    def still_starting(self, status: str) -> None:
        """Extend the start timeout beyond TimeoutStartSec."""
        self._send(f"EXTEND_TIMEOUT_USEC={START_EXTENSION_SECONDS * 1_000_000}\nSTATUS={_line(status)}")

    def ready(self, status: str) -> None:
        """The start or a reload is complete."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` must follow, whatever its result."""
        # Type=notify-reload requires the time, which identifies the reload.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the settings again")

    def status(self, status: str) -> None:
        """The line in `systemctl status`."""
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
                channel.setblocking(False)  # a service manager that does not read must not block the loop
                channel.connect(address)
                channel.send(message.encode())
        except OSError as error:
            if not self._failing:
                log.warning("systemd cannot be notified", reason=str(error))
            self._failing = True
        else:
            self._failing = False


def _line(status: str) -> str:
    """Join to one line, because a line break would begin another assignment."""
    return " ".join(status.split())
