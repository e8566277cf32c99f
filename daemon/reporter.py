"""Periodic reports of the running daemon: to systemd, to the cameras, and to the next run."""

import asyncio

from daemon.components import Components
from daemon.events.types import BoxStarted
from daemon.health import DaemonHealth
from daemon.runtime.systemd import Systemd
from pipeline.base.background import in_thread, wait_at_most

REPORT_SECONDS = 2.0


class Reporter:
    """Reports status to systemd, spool faults to the cameras, and hung cameras to the crash notes."""

    def __init__(
        self, components: Components, health: DaemonHealth, systemd: Systemd, started: asyncio.Event
    ) -> None:
        """`started` is set once the store has been opened."""
        self._components = components
        self._health = health
        self._systemd = systemd
        self._started = started
        self._noted_hung: set[tuple[str, str]] = set()
        """Ids and fingerprints of the cameras that this run has noted as hung."""

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            if fault := self._components.spool.fault:
                self._components.supervisor.posting_failed(fault)
            self._notify_systemd()
            await self._note_hung_camera()
            pause = self._systemd.interval_seconds(REPORT_SECONDS)
            if self._started.is_set():
                await asyncio.sleep(pause)
            else:
                await wait_at_most(self._components.storing.opened, pause)

    async def _note_hung_camera(self) -> None:
        """Note a camera whose thread hangs: if the watchdog ends the process, the next run knows why."""
        if (hung := self._components.supervisor.hung()) is None:
            return
        camera = hung[0]
        if (key := (camera.id, camera.fingerprint)) not in self._noted_hung:
            self._noted_hung.add(key)
            await in_thread(lambda: self._components.crashes.blame(camera), "crash notes")

    def _notify_systemd(self) -> None:
        """Send status and readiness; the watchdog signal only while nothing is stuck."""
        summary = self._health.summary()
        if not self._health.stuck():
            self._systemd.alive()
            if not self._started.is_set():
                self._systemd.still_starting(summary)
        if self._started.is_set():
            self._systemd.status(summary)
        elif self._components.storing.opened.is_set():
            self._started.set()
            self._systemd.ready(summary)
            self._components.events.publish(BoxStarted())
