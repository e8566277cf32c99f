"""The health of a daemon that works, for tests of the web server."""

from typing import Any


class Healthy:
    """Implements `daemon.http.server.Health`."""

    def stuck(self) -> str:
        return ""

    def not_ready(self) -> str:
        return ""

    def status(self) -> dict[str, Any]:
        return {}
