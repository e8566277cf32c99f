"""Makes the daemon's components and connects them; starts none of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from daemon.analysis import Analysis
from daemon.config.file_watch import FileWatch
from daemon.config.settings import Settings
from daemon.config.stored_webhooks import AddedWebhooks
from daemon.errors import StartError
from daemon.events.bus import EventBus
from daemon.events.delivery import EventDelivery
from daemon.events.outbox_writer import OutboxWriter
from daemon.live_configuration import LiveConfiguration
from daemon.plugins.host import Plugins
from daemon.runtime.crashes import CrashNotes
from daemon.runtime.disk_reserve import DiskReserve
from daemon.runtime.jobs import Jobs
from daemon.runtime.metrics import COUNTED_EVENTS, Metrics
from daemon.runtime.tasks import TaskGroup
from daemon.stored_cameras import StoredCameras
from daemon.storing import Storing
from daemon.supervisor import Supervisor
from daemon.upkeep import Upkeep
from daemon.visit_announcer import VisitAnnouncer
from pipeline.models.loader import Models
from store.spool.spool import Spool, SpoolError

COUNTED_WAITING = 100_000
"""Counters are right only if no event is dropped, not even while something blocks the event loop."""


@dataclass(frozen=True, slots=True)
class Components:
    crashes: CrashNotes
    metrics: Metrics
    events: EventBus
    spool: Spool
    jobs: Jobs
    analysis: Analysis
    supervisor: Supervisor
    plugins: Plugins
    storing: Storing
    upkeep: Upkeep
    stored_cameras: StoredCameras
    disks: DiskReserve
    configuration: LiveConfiguration


def build_components(
    settings: Settings,
    models: Models,
    plugins: Plugins,
    tasks: TaskGroup,
    *,
    subscribe: Callable[[EventBus], None],
    on_crash: Callable[[BaseException], None],
    reread: Callable[[], Settings],
    watch: FileWatch | None,
) -> Components:
    """Make the components and connect them.

    `subscribe` adds the caller's subscribers to the event bus; `on_crash` is called with an exception of the
    analysis thread.

    Raises:
        StartError: the spool's folder, or a CA certificates file, cannot be used.
    """
    crashes = CrashNotes(settings.data_dir)
    crashes.begin()
    metrics = Metrics(version=version("facend"), pack=models.pack.name, runtime=models.runtime)
    events = EventBus(metrics)
    events.handle("metrics", COUNTED_EVENTS, metrics.count_event, capacity=COUNTED_WAITING)
    subscribe(events)
    spool = _open_spool(settings, metrics)
    analysis = Analysis(spool, metrics, on_crash)
    supervisor = Supervisor(models, settings.pipeline, analysis, metrics, events, crashes)
    delivery = EventDelivery(
        settings.webhooks,
        events,
        metrics,
        mqtt=settings.mqtt,
        box=settings.box,
        cameras=supervisor.announced,
        rules=settings.rules,
        zone=settings.persons.zone,
        stored=AddedWebhooks(settings.data_dir).all,
    )
    storing = Storing(settings, models, spool, metrics, events, plugins, delivery)
    OutboxWriter(lambda: storing.outbox).subscribe(events)
    VisitAnnouncer(settings, models.pack, lambda: storing.session).subscribe(events)
    upkeep = Upkeep(settings, models, spool, storing)
    stored_cameras = StoredCameras(storing)
    components = Components(
        crashes=crashes,
        metrics=metrics,
        events=events,
        spool=spool,
        jobs=Jobs(metrics, tasks),
        analysis=analysis,
        supervisor=supervisor,
        plugins=plugins,
        storing=storing,
        upkeep=upkeep,
        stored_cameras=stored_cameras,
        disks=DiskReserve(settings.disk_folders, upkeep.free_pictures),
        configuration=LiveConfiguration(settings, supervisor, stored_cameras, reread, watch),
    )
    _register_gauges(components, settings.spool.max_bytes)
    return components


def _open_spool(settings: Settings, metrics: Metrics) -> Spool:
    wanted = settings.spool
    try:
        return Spool(settings.data_dir / "spool", wanted.max_bytes, metrics, wanted.when_full)
    except SpoolError as error:
        raise StartError(str(error)) from error


def _register_gauges(components: Components, spool_max_bytes: int) -> None:
    gauges, spool, storing = components.metrics.gauges, components.spool, components.storing
    loop = asyncio.get_running_loop()
    gauges.add("facend_spool_sightings", lambda: {"": len(spool)})
    gauges.add("facend_spool_oldest_seconds", lambda: {"": spool.oldest_seconds()})
    gauges.add("facend_spool_bytes", lambda: {"": spool.bytes_waiting})
    gauges.add("facend_spool_max_bytes", lambda: {"": spool_max_bytes})
    gauges.add("facend_disk_free_bytes", components.disks.free_bytes)
    gauges.add("facend_disk_size_bytes", components.disks.size_bytes)
    gauges.add("facend_disk_reserve_bytes", components.disks.reserve_bytes)
    gauges.add("facend_facen_shards", lambda: storing.health.shards)
    gauges.add("facend_facens", lambda: storing.health.facens)
    gauges.add("facend_facens_bytes", lambda: {"": storing.health.facens_bytes})
    gauges.add("facend_malformed_documents", lambda: storing.malformed)
    gauges.add("facend_changes_followed", lambda: {"": float(not storing.not_followed)})
    gauges.add("facend_camera_overloaded", components.supervisor.overloaded)
    gauges.add("facend_event_loop_tasks", lambda: {"": len(asyncio.all_tasks(loop))})
