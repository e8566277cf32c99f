"""The workers of all webhooks: those of the settings, and those that commands and the API have added."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from bson import ObjectId

from daemon.errors import SettingsError
from daemon.events.sinks.dispatch import BuildPayload, DeliveryObserver, SinkRoute, SinkWorker
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.webhook import WebhookSink
from daemon.events.sinks.webhook_target import webhook_target
from pipeline.base.background import supervised, wait_at_most
from pipeline.base.backoff import Backoff
from store import Context, User
from store.errors import StoreError
from store.mongo.change_stream import watch
from store.outbox.deliveries import Deliveries
from store.outbox.sink_states import COLLECTION as SINK_STATES
from store.outbox.sink_states import SinkStates

log = structlog.get_logger(__name__)

WEBHOOKS = "webhooks"
"""The collection of added webhooks."""
REFRESH_SECONDS = 30.0
"""Maximum delay of a change, for a MongoDB without change streams."""

StoredWebhooks = Callable[[Context, ObjectId], Awaitable[Sequence[WebhookSettings]]]
"""The added webhooks of this box, with their secrets; raises StoreError."""


async def none_stored(_ctx: Context, _owner: ObjectId) -> Sequence[WebhookSettings]:
    return ()


class WebhookWorkers:
    """Keeps one worker for each enabled webhook."""

    def __init__(
        self,
        of_settings: Sequence[WebhookSettings],
        stored: StoredWebhooks,
        build: BuildPayload,
        observer: DeliveryObserver,
        ctx: Context,
        user: User,
    ) -> None:
        self.workers: list[SinkWorker] = []
        """Changes in place."""
        self._of_settings = of_settings
        self._stored = stored
        self._build = build
        self._observer = observer
        self._ctx = ctx
        self._user = user
        self._states = SinkStates(ctx.database, user["_id"], ctx.box)
        self._changed = asyncio.Event()
        self._running: dict[str, tuple[WebhookSettings, str, SinkWorker, asyncio.Task[None]]] = {}
        """By name: the settings, why it is off, the worker and its task."""

    async def load(self) -> None:
        """Start the workers; waits for the store. Events must not be routed before."""
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                await self._reload()
                return
            except StoreError as error:
                log.debug("webhooks wait for the store", reason=str(error))
                await asyncio.sleep(backoff.pause_seconds())

    async def follow(self) -> None:
        """Follow changes of the added webhooks and of what is switched off, until cancelled."""
        watching = [
            supervised(watch(self._ctx.database[name], self._changed.set), f"changes of {name}")
            for name in (WEBHOOKS, SINK_STATES)
        ]
        try:
            while True:
                await wait_at_most(self._changed, REFRESH_SECONDS)
                self._changed.clear()
                try:
                    await self._reload()
                except StoreError as error:
                    log.debug("webhooks cannot be read at present", reason=str(error))
        finally:
            for task in watching:
                task.cancel()

    async def close(self) -> None:
        for name in list(self._running):
            await self._end(name)
            self._drop(name)

    async def _reload(self) -> None:
        """One of the settings takes precedence over an added one of the same name."""
        wanted = {one.name: one for one in await self._stored(self._ctx, self._user["_id"]) if one.enabled}
        wanted |= {one.name: one for one in self._of_settings}
        wanted = {name: one for name, one in wanted.items() if one.enabled}
        off = await self._states.switched_off()
        for name, (settings, reason, _, _) in list(self._running.items()):
            if wanted.get(name) != settings or off.get(name, "") != reason:
                await self._end(name)
                # Nothing is awaited between these two: no event is routed past a webhook that only changes.
                self._drop(name)
                if name in wanted:
                    self._start(wanted[name], off.get(name, ""))
        for name, settings in wanted.items():
            if name not in self._running:
                self._start(settings, off.get(name, ""))

    def _start(self, settings: WebhookSettings, off_reason: str) -> None:
        name = settings.name
        try:
            target = webhook_target(settings)
        except SettingsError as error:
            log.error("a webhook is not used", sink=name, reason=str(error))
            return

        async def switch_off(reason: str) -> None:
            await self._states.switch_off(name, reason)

        route = SinkRoute(
            WebhookSink(target),
            Deliveries(self._ctx.database, self._user["_id"], self._ctx.box, name),
            lambda event: settings.wants(event.type, event.cam_id, event.facts.get("rule")),
            timedelta(hours=settings.give_up_hours),
            off_reason,
            switch_off,
        )
        worker = SinkWorker(route, self._build, self._observer)
        self._running[name] = (settings, off_reason, worker, supervised(worker.run(), f"sink {name}"))
        self.workers.append(worker)

    async def _end(self, name: str) -> None:
        _, _, worker, task = self._running[name]
        task.cancel()
        await asyncio.wait({task})
        await worker.route.sink.close()

    def _drop(self, name: str) -> None:
        _, _, worker, _ = self._running.pop(name)
        self.workers.remove(worker)
