"""Delivery of the outbox to the configured sinks, while the store is open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from daemon.events.announced import AnnouncedCamera
from daemon.events.bus import EventBus
from daemon.events.messages import MessageBuilder
from daemon.events.rules.engine import RuleEngine
from daemon.events.rules.settings import RuleSettings
from daemon.events.sinks.dispatch import DeliveryObserver, EventRouter, SinkRoute, SinkWorker
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.topics import Topics
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.webhook_target import webhook_target
from daemon.events.types import (
    CameraRemoved,
    CameraStateChanged,
    PersonErased,
    PersonMerged,
    PersonRenamed,
    PersonSplit,
)
from daemon.events.webhook_workers import StoredWebhooks, WebhookWorkers, none_stored
from pipeline.base.background import supervised
from store import Context, User
from store.errors import StoreError
from store.mongo.change_stream import watch
from store.outbox.deliveries import Deliveries
from store.outbox.events import EVENTS, Outbox, OutboxEvent

if TYPE_CHECKING:
    from daemon.events.sinks.mqtt.client import MqttClient

CLOSE_SECONDS = 0.3

PERSON_EVENTS = {
    event_class.type: event_class for event_class in (PersonErased, PersonMerged, PersonRenamed, PersonSplit)
}
"""Events that other processes write as well; they reach the bus through the outbox."""


class EventDelivery:
    """Makes the sinks of the settings, and delivers to them."""

    def __init__(
        self,
        webhooks: Sequence[WebhookSettings],
        events: EventBus,
        observer: DeliveryObserver,
        *,
        mqtt: MqttSettings | None = None,
        box: str = "",
        cameras: Callable[[], Sequence[AnnouncedCamera]] = lambda: (),
        rules: Sequence[RuleSettings] = (),
        zone: tzinfo = UTC,
        stored: StoredWebhooks = none_stored,
    ) -> None:
        """
        Args:
            webhooks: those of the settings.
            cameras: those that this box reads.
            zone: of the site, for the days and hours of rules.
            stored: the webhooks that were added by commands and the API.

        Raises:
            SettingsError: a CA certificates file or a client certificate cannot be used.
        """
        self._webhooks = webhooks
        for one in webhooks:
            webhook_target(one)  # errors are those of the start
        self._stored = stored
        self._mqtt = mqtt if mqtt is not None and mqtt.enabled else None
        if self._mqtt is not None:
            # Imported on use: paho is loaded only where MQTT is used.
            from daemon.events.sinks.mqtt.sink import broker_of

            topics = Topics(self._mqtt.base_topic, self._mqtt.discovery_prefix, box)
            self._topics, self._broker = topics, broker_of(self._mqtt, topics)
        self._cameras = cameras
        self._rules = rules
        self._zone = zone
        self._events = events
        self._observer = observer

    @asynccontextmanager
    async def running(self, ctx: Context, user: User) -> AsyncIterator[None]:
        """Deliver until the end of the block."""
        builder = MessageBuilder(ctx, user)
        webhooks = WebhookWorkers(self._webhooks, self._stored, builder.build, self._observer, ctx, user)
        mqtt: list[SinkWorker] = []
        announcing: list[Coroutine[Any, Any, None]] = []
        if self._mqtt is not None:
            worker, announcement = self._mqtt_worker(self._mqtt, builder, ctx, user)
            mqtt.append(worker)
            announcing.append(announcement)
        engine = RuleEngine(self._rules, self._zone, ctx, user)
        outbox = Outbox(ctx.database, user["_id"], ctx.box)
        router = EventRouter(outbox, lambda: [*webhooks.workers, *mqtt], self._publish, engine.evaluate)

        async def route() -> None:
            await webhooks.load()
            await router.run()

        tasks = [
            supervised(route(), "routing of events"),
            supervised(watch(ctx.database[EVENTS], router.wake), "changes of the outbox"),
            supervised(webhooks.follow(), "changes of webhooks"),
            *(supervised(one.run(), f"sink {one.route.sink.name}") for one in mqtt),
            *(supervised(one, "MQTT announcements") for one in announcing),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await webhooks.close()
            for one in mqtt:
                await one.route.sink.close()

    def _mqtt_worker(
        self, settings: MqttSettings, builder: MessageBuilder, ctx: Context, user: User
    ) -> tuple[SinkWorker, Coroutine[Any, Any, None]]:
        """The worker of MQTT, and what announces cameras and persons."""
        from daemon.events.sinks.mqtt.announcer import MqttAnnouncer
        from daemon.events.sinks.mqtt.sink import MqttSink

        sink = MqttSink(settings, self._topics, self._broker)
        deliveries = Deliveries(ctx.database, user["_id"], ctx.box, sink.name)
        announcer = MqttAnnouncer(settings, sink, self._cameras, ctx, user)
        route = SinkRoute(
            sink,
            deliveries,
            lambda event: settings.wants_camera(event.cam_id),
            timedelta(hours=settings.give_up_hours),
        )
        worker = SinkWorker(route, builder.build, self._observer)

        async def retry_at_once(_: "MqttClient") -> None:
            with suppress(StoreError):  # they are tried again in any case, later
                await deliveries.retry_now()
            worker.wake()

        sink.connection.on_connected.append(retry_at_once)

        async def announce() -> None:
            types = (CameraStateChanged, CameraRemoved)
            subscription = self._events.handle("MQTT", types, announcer.changed)
            try:
                await announcer.run()
            finally:
                await self._events.remove(subscription, CLOSE_SECONDS)

        return worker, announce()

    def _publish(self, event: OutboxEvent) -> None:
        event_class = PERSON_EVENTS.get(event.type)
        if event_class is not None and event.person_id is not None:
            self._events.publish(event_class(event.person_id, event.facts.get("other"), at=event.at))
