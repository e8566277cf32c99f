"""The daemon: what it is made of, and the order in which it starts and stops.

Startup, waiting for a signal, shutdown. All that runs meanwhile is a task of one group. The shutdown may
come at any moment of the startup: a part that has not been started has nothing to close.
"""

import asyncio
import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import structlog

from daemon.analysis import Analysis
from daemon.config.file_watch import FileWatch
from daemon.config.settings import HttpSettings, Settings
from daemon.configuration import Configuration
from daemon.errors import StartError
from daemon.http.connections import ConnectionLimits, Connections
from daemon.http.maintenance import doctor_route, rebuild_route
from daemon.http.server import application, serving
from daemon.plugins.host import Plugins
from daemon.runtime import loop_lag
from daemon.runtime.crashes import CrashNotes
from daemon.runtime.disk_reserve import DiskReserve
from daemon.runtime.jobs import Jobs
from daemon.runtime.metrics import Metrics
from daemon.runtime.nightly_jobs import NightlyJobs
from daemon.runtime.shutdown import ShutdownLimit, side_by_side
from daemon.runtime.systemd import Systemd
from daemon.runtime.tasks import TaskGroup, exception_handler
from daemon.stored_cameras import StoredCameras
from daemon.storing import Storing
from daemon.supervisor import Supervisor
from daemon.upkeep import Upkeep
from pipeline.base.background import in_thread, supervised
from pipeline.base.deadline import Deadline
from pipeline.models.engine import Models
from store.spool.recording import StoredSighting
from store.spool.spool import Spool, SpoolError

log = structlog.get_logger(__name__)

CAMERAS_STOP_SECONDS = 1.0

MARGIN_SECONDS = 0.3
"""Kept of the deadline after the last visits were finished."""

STORE_CLOSE_SECONDS = 4.8
"""Kept for closing the store after everything that makes sightings has ended."""

STUCK_SECONDS = 30.0
"""An analysis turn takes a fraction of a second; after this long it hangs."""

WATCH_SECONDS = 2.0

RUNTIME = "onnxruntime"

OWN_THREADS = ("camera ", "analysis", "plugins' loop watch")
"""How the names of the daemon's own threads begin; a plugin's must not end the process."""


class Application:
    def __init__(
        self,
        settings: Settings,
        models: Models,
        systemd: Systemd,
        on_stored: Callable[[StoredSighting], None],
        reread: Callable[[], Settings] | None = None,
        watch: FileWatch | None = None,
    ) -> None:
        """`reread` gives the settings as they are now, on SIGHUP and when `watch` sees a changed file.

        Without it that signal changes nothing.
        """
        self._settings = settings
        self._models = models
        self._systemd = systemd
        self._on_stored = on_stored
        self._reread = reread or (lambda: settings)
        self._file_watch = watch
        self._stop = asyncio.Event()
        self._plugins = Plugins(settings.plugins)
        self._limit = ShutdownLimit(self._plugins.hurry, lambda: 1 if self._crash else 0)
        self._crash: BaseException | None = None
        self._tasks = TaskGroup(self._crashed)
        self._http = AsyncExitStack()
        self._blamed: set[tuple[str, str]] = set()
        """Ids and marks of the cameras whose hanging this run has noted."""
        self._started_at = datetime.now(UTC)
        self.address = ""
        self.started = asyncio.Event()
        """Set when cameras run and the store answers."""

    async def run(self) -> None:
        """Run until a signal. StartError where something does not let it start."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(exception_handler(self._crashed))
        self._limit.enforce()
        self._take_signals()
        threading.excepthook = self._failed_thread
        self._build()
        try:
            starting = self._tasks.start(self._start(), "start")
            stopping = self._tasks.start(self._stop.wait(), "stop")
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await stopping
        finally:
            await self._shut_down()
        if self._crash is not None:
            raise self._crash

    def stop(self) -> None:
        self._limit()
        self._stop.set()

    def _build(self) -> None:
        """Make the parts; nothing runs yet."""
        settings, models = self._settings, self._models
        self._crashes = CrashNotes(settings.data_dir)
        self._crashes.begin()
        self._metrics = Metrics(version=version("facend"), pack=models.pack.name, runtime=RUNTIME)
        try:
            wanted = settings.spool
            self._spool = Spool(
                settings.data_dir / "spool", wanted.max_bytes, self._metrics, wanted.when_full
            )
        except SpoolError as error:
            raise StartError(str(error)) from error
        self._jobs = Jobs(self._metrics, self._tasks)
        self._analysis = Analysis(self._spool, self._metrics, self._crashed_in_thread)
        self._supervisor = Supervisor(models, settings.pipeline, self._analysis, self._metrics, self._crashes)
        self._storing = Storing(settings, models, self._spool, self._metrics, self._on_stored, self._plugins)
        self._upkeep = Upkeep(settings, models, self._spool, self._storing)
        self._stored_cameras = StoredCameras(self._storing)
        self._disks = DiskReserve(settings.disk_folders, self._upkeep.free_pictures)
        self._configuration = Configuration(
            settings, self._supervisor, self._stored_cameras, self._reread, self._file_watch
        )
        self._loop.add_signal_handler(signal.SIGHUP, self._configuration.reload)
        self._add_gauges()

    async def _start(self) -> None:
        settings = self._settings
        self._tasks.start(loop_lag.measure(self._metrics.loop_lag), "event loop lag", endless=True)
        routes = [doctor_route(self._upkeep), rebuild_route(self._upkeep), *self._plugins.routes()]
        token = settings.http.token.get_secret_value()
        web = application(self._metrics.registry, self, routes, token, settings.http.allowed_hosts)
        connections = Connections(_connection_limits(settings.http), self._metrics)
        self._metrics.gauges.add("facend_http_connections", lambda: {"": len(connections)})
        self.address = await self._http.enter_async_context(
            serving(web, settings.http.host, settings.http.port, connections)
        )
        self._storing.start()
        nightly = NightlyJobs(self._jobs, lambda: self._upkeep.job_runs, settings.persons.zone)
        # Old pictures must not fill the disk, whatever MongoDB knows of the last time.
        nightly.add("retention", settings.jobs.retention_at, self._upkeep.retention, after_each_start=True)
        nightly.add("doctor", settings.jobs.doctor_at, self._upkeep.check)
        if minutes := settings.facens.snapshot_minutes:
            self._jobs.add_every(minutes, "facens", self._upkeep.save_facens)
        self._jobs.add_every(settings.jobs.look_again_minutes, "look_again", self._upkeep.look_again)
        if settings.persons.merge != "off":
            nightly.add("merge", settings.jobs.merge_at, self._upkeep.compare_persons)
        self._jobs.start()
        self._analysis.start()
        self._tasks.start(self._storing.watch_health(), "store health", endless=True)
        self._tasks.start(self._disks.run(), "free space on disks", endless=True)
        self._tasks.start(self._report(), "reports", endless=True)
        cameras = await self._configuration.start()
        self._tasks.start(self._take_changes(), "changed cameras", endless=True)
        self._tasks.start(self._configuration.follow(), "the collection's cameras", endless=True)
        self._tasks.start(self._configuration.renew_leases(), "leases of the cameras", endless=True)
        self._tasks.start(self._supervisor.probe_reachability(), "cameras that are back", endless=True)
        self._tasks.start(nightly.run_missed(self._storing.opened), "missed nightly jobs", endless=True)
        log.info("facend runs", address=self.address, cameras=cameras, pack=self._models.pack.name)

    async def _report(self) -> None:
        """Say how we are, and that we are alive."""
        while True:
            if fault := self._spool.fault:
                self._supervisor.posting_failed(fault)
            self._tell_systemd()
            await self._blame_hung()
            pause = self._systemd.often_enough(WATCH_SECONDS)
            if self.started.is_set():
                await asyncio.sleep(pause)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._storing.opened.wait(), pause)

    async def _take_changes(self) -> None:
        """Bring changed settings and cameras into effect."""
        while True:
            self._configuration.look_at_file()
            if self._configuration.changed.is_set():
                tell = self._configuration.reload_wanted and self.started.is_set()
                if tell:
                    self._systemd.reloading()
                await self._configuration.take_changes()
                if tell:
                    self._systemd.ready(self._summary())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._configuration.changed.wait(), WATCH_SECONDS)

    async def _blame_hung(self) -> None:
        """Notes a camera whose thread hangs: if the process is ended for it, the next run knows why."""
        if (hung := self._supervisor.hung()) is None:
            return
        camera = hung[0]
        if (key := (camera.id, camera.fingerprint)) not in self._blamed:
            self._blamed.add(key)
            await in_thread(lambda: self._crashes.blame(camera), "crash notes")

    def _tell_systemd(self) -> None:
        """How we are; that we are alive only where everything that has to makes progress."""
        summary = self._summary()
        if not self.stuck():
            self._systemd.alive()
            if not self.started.is_set():
                self._systemd.still_starting(summary)
        if self.started.is_set():
            self._systemd.status(summary)
        elif self._storing.opened.is_set():
            self.started.set()
            self._systemd.ready(summary)

    async def _shut_down(self) -> None:
        """Stop what makes sightings and what uses the store, then the store, all by one deadline."""
        deadline = self._limit.deadline
        self._systemd.stopping()
        log.info("facend stops")
        self._jobs.stop()
        self._tasks.cancel()
        frames = supervised(self._end_frames(deadline.leaving(MARGIN_SECONDS)), "end of frames")
        first = deadline.leaving(STORE_CLOSE_SECONDS)
        await side_by_side(
            first,
            storing=self._store_the_rest(frames, first.leaving(MARGIN_SECONDS)),
            background_tasks=self._tasks.ended(first.leaving(MARGIN_SECONDS)),
            http=self._http.aclose(),
        )
        await self._storing.close(deadline)
        await asyncio.wait({frames}, timeout=deadline.remaining())
        if left := len(self._spool):
            log.info("sightings wait in the spool for the next start", sightings=left)

    async def _end_frames(self, deadline: Deadline) -> None:
        """End the cameras, and bring the visits in progress into the spool; that needs no store."""
        await side_by_side(
            deadline,
            cameras=self._supervisor.stop(deadline.at_most(CAMERAS_STOP_SECONDS).remaining()),
            analysis=self._end_analysis(deadline),
        )

    async def _end_analysis(self, deadline: Deadline) -> None:
        if not await in_thread(partial(self._analysis.stop, deadline.remaining()), "end of the analysis"):
            log.warning("the analysis did not end in time; visits in progress are not stored")

    async def _store_the_rest(self, frames: asyncio.Task[None], deadline: Deadline) -> None:
        """Store what waits in the spool and the last sightings, as far as there is time."""
        await asyncio.wait({frames}, timeout=deadline.remaining())
        await deadline.wait(self._stored_cameras.release())
        await self._storing.drain(deadline.remaining())

    def _take_signals(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, self._asked_to_stop)
            # The loop hears of the signal all the same; this is called even while somebody blocks the loop.
            signal.signal(name, self._limit)
            signal.siginterrupt(name, False)  # as the loop has it
        self._loop.add_signal_handler(signal.SIGHUP, lambda: None)  # nothing to read again before the start

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            log.warning("second signal: exiting at once; what was accepted is in the spool")
            signal.raise_signal(signal.SIGKILL)
        self.stop()

    def _failed_thread(self, failed: threading.ExceptHookArgs) -> None:
        error = failed.exc_value or failed.exc_type()
        name = failed.thread.name if failed.thread else ""
        if name.startswith(OWN_THREADS):
            self._crashed_in_thread(error)
        else:
            log.error("a thread of a plugin or a library failed", thread=name, exc_info=error)

    def _crashed_in_thread(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._crashed, error)

    def _crashed(self, error: BaseException) -> None:
        """A fault in our own code: end the process, so that systemd starts a sound one."""
        self._crash = self._crash or error
        self.stop()

    # daemon.http.server.Health
    def stuck(self) -> str:
        silent = time.monotonic() - self._analysis.turned_at
        culprit = f"that of the camera {self._analysis.busy_with}"
        limit = min(STUCK_SECONDS, self._systemd.watchdog_seconds or STUCK_SECONDS)
        if silent > limit:
            return f"analysis has been busy with one turn for {silent:.0f} s, {culprit}"
        if (hung := self._supervisor.hung()) is None:
            return ""
        camera, seconds = hung
        return f"the thread of the camera {camera.id} has hung for {seconds:.0f} s"

    def not_ready(self) -> str:
        return self._storing.trouble or self._spool.fault or ""

    def status(self) -> Mapping[str, Any]:
        return {
            "version": version("facend"),
            "started_at": self._started_at,
            "summary": self._summary(),
            "cameras": self._configuration.cameras(),
            "configuration": self._configuration.refused,
            "store": {
                "ready": not self._storing.trouble,
                "trouble": self._storing.trouble,
                "changes_not_seen": self._storing.not_followed,
                "malformed_documents": {name: n for name, n in self._storing.malformed.items() if n},
            },
            "spool": {
                "sightings": len(self._spool),
                "bytes": self._spool.bytes_waiting,
                "max_bytes": self._settings.spool.max_bytes,
                "dropped": self._spool.dropped,
                "oldest_seconds": self._spool.oldest_seconds(),
                "fault": self._spool.fault,
                "set_aside": self._storing.set_aside,
            },
            "disks": self._disks.status(),
            "jobs": self._jobs.status(),
            "plugins": self._plugins.status(),
        }

    def _summary(self) -> str:
        """One plain line: how many cameras are in which state, and what is wrong."""
        states = Counter(camera["state"] for camera in self._supervisor.status())
        cameras = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"
        refused = "changed cameras are refused" if any(self._configuration.refused.values()) else ""
        full = (
            f"the spool is full, {dropped} sightings were dropped" if (dropped := self._spool.dropped) else ""
        )
        parts = (f"cameras: {cameras}", self.stuck() or self.not_ready(), full, refused, self._disks.trouble)
        return "; ".join(part for part in parts if part)

    def _add_gauges(self) -> None:
        gauges, spool = self._metrics.gauges, self._spool
        max_bytes = self._settings.spool.max_bytes
        gauges.add("facend_spool_sightings", lambda: {"": len(spool)})
        gauges.add("facend_spool_oldest_seconds", lambda: {"": spool.oldest_seconds()})
        gauges.add("facend_spool_bytes", lambda: {"": spool.bytes_waiting})
        gauges.add("facend_spool_max_bytes", lambda: {"": max_bytes})
        gauges.add("facend_disk_free_bytes", self._disks.free_bytes)
        gauges.add("facend_disk_reserve_bytes", self._disks.reserve_bytes)
        gauges.add("facend_disk_size_bytes", self._disks.size_bytes)
        gauges.add("facend_facen_shards", lambda: self._storing.health.shards)
        gauges.add("facend_facens", lambda: self._storing.health.facens)
        gauges.add("facend_facens_bytes", lambda: {"": self._storing.health.facens_bytes})
        gauges.add("facend_malformed_documents", lambda: self._storing.malformed)
        gauges.add("facend_changes_followed", lambda: {"": float(not self._storing.not_followed)})
        gauges.add("facend_camera_overloaded", self._supervisor.overloaded)
        gauges.add("facend_event_loop_tasks", lambda: {"": len(asyncio.all_tasks(self._loop))})


def _connection_limits(settings: HttpSettings) -> ConnectionLimits:
    return ConnectionLimits(
        connections=settings.max_connections,
        per_client=settings.max_connections_per_client,
        request_seconds=settings.request_timeout_seconds,
        write_seconds=settings.write_timeout_seconds,
    )
