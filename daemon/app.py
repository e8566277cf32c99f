"""The daemon's lifecycle: startup, waiting for a signal, shutdown.

All background work is a task of one group. The shutdown may begin at any moment of the startup: a component
that has not been started has nothing to close.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import structlog
from bson import ObjectId

from daemon.components import build_components
from daemon.config.file_watch import FileWatch
from daemon.config.person_rules import threshold
from daemon.config.settings import HttpSettings, Settings
from daemon.config.stored_webhooks import AddedWebhooks
from daemon.events.bus import EventBus
from daemon.health import DaemonHealth
from daemon.http.api.app import api_route
from daemon.http.api.services import AlertSources, ApiSources
from daemon.http.connections import ConnectionLimits, Connections
from daemon.http.facenapi.api import FacenApi
from daemon.http.facenapi.call import WireSettings
from daemon.http.maintenance import doctor_route, rebuild_route
from daemon.http.server import application, serving
from daemon.plugins.host import Plugins
from daemon.reporter import Reporter
from daemon.runtime.clock_watch import ClockWatch
from daemon.runtime.event_loop import measure_lag
from daemon.runtime.nightly_jobs import NightlyJobs
from daemon.runtime.shutdown_limit import ShutdownLimit
from daemon.runtime.systemd import Systemd
from daemon.runtime.tasks import TaskGroup, exception_handler
from daemon.shutdown import shut_down
from pipeline.base.background import wait_at_most
from pipeline.models.loader import Models
from store import Context

log = structlog.get_logger(__name__)

WATCH_SECONDS = 2.0

OWN_THREADS = ("camera ", "analysis", "plugins' loop watch")
"""Name prefixes of the daemon's own threads; a failure in any other thread does not end the process."""


class Application:
    def __init__(
        self,
        settings: Settings,
        models: Models,
        systemd: Systemd,
        subscribe: Callable[[EventBus], None] = lambda events: None,
        reread: Callable[[], Settings] | None = None,
        watch: FileWatch | None = None,
    ) -> None:
        """`subscribe` adds subscribers to the event bus.

        `reread` reads the settings again, on SIGHUP and when `watch` detects a changed file.
        Default: the settings do not change.
        """
        self._settings = settings
        self._models = models
        self._systemd = systemd
        self._subscribe = subscribe
        self._reread = reread or (lambda: settings)
        self._file_watch = watch
        self._stop = asyncio.Event()
        self._plugins = Plugins(settings.plugins)
        self._limit = ShutdownLimit(self._plugins.hurry, lambda: 1 if self._crash else 0)
        self._crash: BaseException | None = None
        self._tasks = TaskGroup(self._crashed)
        self._http = AsyncExitStack()
        self.address = ""
        self.started = asyncio.Event()
        """Set when cameras run and the store answers."""

    async def run(self) -> None:
        """Run until a signal.

        Raises:
            StartError: the daemon cannot start.
        """
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(exception_handler(self._crashed))
        self._limit.enforce()
        self._install_signal_handlers()
        threading.excepthook = self._on_thread_failure
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
        self._components = build_components(
            self._settings,
            self._models,
            self._plugins,
            self._tasks,
            subscribe=self._subscribe,
            on_crash=self._crashed_in_thread,
            reread=self._reread,
            watch=self._file_watch,
        )
        self._health = DaemonHealth(
            self._components, self._settings.spool.max_bytes, self._systemd.watchdog_seconds
        )
        self._loop.add_signal_handler(signal.SIGHUP, self._components.configuration.reload)

    async def _start(self) -> None:
        components, start = self._components, partial(self._tasks.start, endless=True)
        start(measure_lag(components.metrics.loop_lag), "event loop lag")
        await self._serve_http()
        components.storing.start()
        nightly_jobs = self._schedule_jobs()
        components.jobs.start()
        components.analysis.start()
        start(components.storing.watch_health(), "store health")
        start(components.disks.run(), "free space on disks")
        start(Reporter(components, self._health, self._systemd, self.started).run(), "reports")
        cameras = await components.configuration.start()
        start(self._apply_changes(), "changed cameras")
        start(components.configuration.follow(), "the collection's cameras")
        start(components.configuration.renew_leases(), "camera leases")
        start(components.supervisor.probe_reachability(), "reachability probe")
        start(components.supervisor.refresh_states(), "states of cameras")
        start(ClockWatch(components.metrics.clock_stepped).run(), "steps of the clock")
        start(nightly_jobs.run_missed(components.storing.opened), "missed nightly jobs")
        log.info("facend runs", address=self.address, cameras=cameras, pack=self._models.pack.name)

    async def _serve_http(self) -> None:
        components, settings = self._components, self._settings.http
        routes = [
            doctor_route(components.upkeep),
            rebuild_route(components.upkeep),
            api_route(ApiSources(self._open_store, self._health.report, self._alerts())),
            *self._facen_api().routes(),
            *self._plugins.routes(),
        ]
        token = settings.token.get_secret_value()
        web = application(components.metrics.registry, self._health, routes, token, settings.allowed_hosts)
        connections = Connections(_connection_limits(settings), components.metrics)
        components.metrics.gauges.add("facend_http_connections", lambda: {"": len(connections)})
        self.address = await self._http.enter_async_context(
            serving(web, settings.host, settings.port, connections)
        )

    def _alerts(self) -> AlertSources:
        settings = self._settings
        added = AddedWebhooks(settings.data_dir)
        return AlertSources(settings.webhooks, settings.rules, added, settings.http.add_webhooks)

    def _facen_api(self) -> FacenApi:
        settings, pack = self._settings, self._models.pack
        limits = pack.thresholds
        named = {"strict": limits.strict, "medium": limits.medium, "low": limits.low, "none": 0.0}
        least = threshold(settings.persons, pack)
        wire = WireSettings(named, least, settings.facenapi.delete_gallery_faces, settings.facenapi.enabled)
        return FacenApi(wire, lambda: opened[0] if (opened := self._open_store()) else None)

    def _open_store(self) -> tuple[Context, ObjectId] | None:
        """The context, and the owner of this box's data; None while the store is not open."""
        session = self._components.storing.session
        return None if session is None else (session.ctx, session.owner["_id"])

    def _schedule_jobs(self) -> NightlyJobs:
        settings, jobs, upkeep = self._settings, self._components.jobs, self._components.upkeep
        nightly_jobs = NightlyJobs(jobs, lambda: upkeep.job_runs, settings.persons.zone)
        # After each start too: old pictures must not fill the disk while MongoDB does not know the last run.
        nightly_jobs.add("retention", settings.jobs.retention_at, upkeep.retention, after_each_start=True)
        nightly_jobs.add("doctor", settings.jobs.doctor_at, upkeep.check)
        if settings.persons.merge != "off":
            nightly_jobs.add("merge", settings.jobs.merge_at, upkeep.compare_persons)
        if minutes := settings.facens.snapshot_minutes:
            jobs.add_every(minutes, "facens", upkeep.save_facens)
        jobs.add_every(settings.jobs.look_again_minutes, "look_again", upkeep.look_again)
        return nightly_jobs

    async def _apply_changes(self) -> None:
        """Apply changed settings and cameras."""
        configuration = self._components.configuration
        while True:
            configuration.check_file()
            if configuration.changed.is_set():
                notify = configuration.reload_wanted and self.started.is_set()
                if notify:
                    self._systemd.reloading()
                await configuration.apply_changes()
                if notify:
                    self._systemd.ready(self._health.summary())
            await wait_at_most(configuration.changed, WATCH_SECONDS)

    async def _shut_down(self) -> None:
        self._systemd.stopping()
        await shut_down(self._components, self._tasks, self._http, self._limit.deadline)

    def _install_signal_handlers(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, self._on_stop_signal)
            # Runs even while a plugin blocks the event loop; the loop's handler gets the signal too.
            signal.signal(name, self._limit)
            signal.siginterrupt(name, False)  # as the loop has it
        self._loop.add_signal_handler(signal.SIGHUP, lambda: None)  # ignored before the start

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            log.warning("second signal: exiting at once; accepted sightings are in the spool")
            signal.raise_signal(signal.SIGKILL)
        self.stop()

    def _on_thread_failure(self, failed: threading.ExceptHookArgs) -> None:
        error = failed.exc_value or failed.exc_type()
        name = failed.thread.name if failed.thread else ""
        if name.startswith(OWN_THREADS):
            self._crashed_in_thread(error)
        else:
            log.error("a thread of a plugin or a library failed", thread=name, exc_info=error)

    def _crashed_in_thread(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._crashed, error)

    def _crashed(self, error: BaseException) -> None:
        """End the process after a programming error, so that systemd restarts it."""
        self._crash = self._crash or error
        self.stop()


def _connection_limits(settings: HttpSettings) -> ConnectionLimits:
    return ConnectionLimits(
        connections=settings.max_connections,
        per_client=settings.max_connections_per_client,
        request_seconds=settings.request_timeout_seconds,
        write_seconds=settings.write_timeout_seconds,
    )
