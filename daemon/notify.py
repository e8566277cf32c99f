"""What systemd hears from us: sd_notify(3), one datagram a message.

The protocol is a datagram of `KEY=value` lines to the socket in NOTIFY_SOCKET; a
name that begins with `@` is in the abstract namespace. Without that variable
nothing is sent.
"""

import os
import socket
from collections.abc import Mapping


class Systemd:
    """The service manager's socket, or nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        wanted = microseconds.isdigit() and meant_for == str(os.getpid())
        self.watchdog_seconds: float | None = int(microseconds) / 1e6 if wanted else None

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One plain line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendall(message.encode())
