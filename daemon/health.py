"""Checks whether the daemon works, and collects the status for `/status` and systemd."""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from daemon.components import Components
from daemon.runtime.terminal import count
from daemon.status import DaemonReport, SpoolReport, StoreReport

STUCK_SECONDS = 30.0
"""Time after which the analysis thread counts as hung; a frame takes a fraction of a second."""


class DaemonHealth:
    """Implements `daemon.http.server.Health`. Reading it changes nothing."""

    def __init__(self, components: Components, spool_max_bytes: int, watchdog_seconds: float | None) -> None:
        self._components = components
        self._spool_max_bytes = spool_max_bytes
        self._stuck_seconds = min(STUCK_SECONDS, watchdog_seconds or STUCK_SECONDS)
        self._started_at = datetime.now(UTC)

    def stuck(self) -> str:
        """Why the process no longer works; empty if it does."""
        analysis = self._components.analysis
        silent_seconds = time.monotonic() - analysis.progress_at
        if silent_seconds > self._stuck_seconds:
            return (
                f"the analysis has been busy with one frame of the camera {analysis.current_camera} "
                f"for {silent_seconds:.0f} s"
            )
        if (hung := self._components.supervisor.hung()) is None:
            return ""
        camera, seconds = hung
        return f"the thread of the camera {camera.id} has hung for {seconds:.0f} s"

    def not_ready(self) -> str:
        """Why sightings cannot be stored at present; empty if they can."""
        return self._components.storing.trouble or self._components.spool.fault or ""

    def status(self) -> Mapping[str, Any]:
        return self.report().model_dump()

    def report(self) -> DaemonReport:
        components = self._components
        return DaemonReport(
            version=version("facend"),
            started_at=self._started_at,
            summary=self.summary(),
            cameras=components.configuration.cameras(),
            configuration=components.configuration.refused,
            store=self._store(),
            spool=self._spool(),
            disks=components.disks.status(),
            jobs=components.jobs.status(),
            plugins=components.plugins.status(),
        )

    def summary(self) -> str:
        """One line: the number of cameras in each state, and what is wrong."""
        components = self._components
        states = Counter(camera.state for camera in components.supervisor.status())
        cameras = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"
        refused = "changed cameras are refused" if any(components.configuration.refused.values()) else ""
        dropped = components.spool.dropped
        full = f"the spool is full; {count(dropped, 'sighting')} dropped" if dropped else ""
        trouble = self.stuck() or self.not_ready()
        texts = (f"cameras: {cameras}", trouble, full, refused, components.disks.trouble)
        return "; ".join(text for text in texts if text)

    def _store(self) -> StoreReport:
        storing = self._components.storing
        return StoreReport(
            ready=not storing.trouble,
            trouble=storing.trouble,
            changes_not_seen=storing.not_followed,
            malformed_documents={name: number for name, number in storing.malformed.items() if number},
        )

    def _spool(self) -> SpoolReport:
        spool = self._components.spool
        return SpoolReport(
            sightings=len(spool),
            bytes=spool.bytes_waiting,
            max_bytes=self._spool_max_bytes,
            dropped=spool.dropped,
            oldest_seconds=spool.oldest_seconds(),
            fault=spool.fault,
            set_aside=self._components.storing.set_aside,
        )
