"""Delivery of the outbox to the configured sinks, while the store is open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx

from daemon.errors import SettingsError
from daemon.events.bus import EventBus
from daemon.events.messages import MessageBuilder
from daemon.events.sinks.dispatch import DeliveryObserver, EventRouter, SinkRoute, SinkWorker
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.webhook import WebhookSink, WebhookTarget
from daemon.events.types import PersonErased, PersonMerged, PersonRenamed, PersonSplit
from pipeline.base.background import supervised
from pipeline.base.tls import ca_file, client_context
from store import Context, User
from store.mongo.change_stream import watch
from store.outbox.deliveries import Deliveries
from store.outbox.events import EVENTS, Outbox, OutboxEvent

PERSON_EVENTS = {
    event_class.type: event_class for event_class in (PersonErased, PersonMerged, PersonRenamed, PersonSplit)
}
"""Events that other processes write too; the bus gets them from the outbox."""


class EventDelivery:
    """Makes the sinks of the settings, and delivers to them."""

    def __init__(
        self, webhooks: Sequence[WebhookSettings], events: EventBus, observer: DeliveryObserver
    ) -> None:
        """
        Raises:
            SettingsError: a CA certificates file cannot be used.
        """
        self._webhooks = [one for one in webhooks if one.enabled]
        self._targets = {one.name: webhook_target(one) for one in self._webhooks}
        self._events = events
        self._observer = observer

    @asynccontextmanager
    async def running(self, ctx: Context, user: User) -> AsyncIterator[None]:
        """Deliver until the end of the block."""
        builder = MessageBuilder(ctx, user)
        workers = [
            SinkWorker(self._route(webhook, ctx, user), builder.build, self._observer)
            for webhook in self._webhooks
        ]
        router = EventRouter(Outbox(ctx.database, user["_id"], ctx.box), workers, self._publish)
        tasks = [
            supervised(router.run(), "routing of events"),
            supervised(watch(ctx.database[EVENTS], router.wake), "changes of the outbox"),
            *(supervised(one.run(), f"sink {one.route.sink.name}") for one in workers),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for worker in workers:
                await worker.route.sink.close()

    def _route(self, webhook: WebhookSettings, ctx: Context, user: User) -> SinkRoute:
        return SinkRoute(
            WebhookSink(self._targets[webhook.name]),
            Deliveries(ctx.database, user["_id"], ctx.box, webhook.name),
            lambda event: webhook.wants(event.type, event.cam_id),
            timedelta(hours=webhook.give_up_hours),
        )

    def _publish(self, event: OutboxEvent) -> None:
        event_class = PERSON_EVENTS.get(event.type)
        if event_class is not None and event.person_id is not None:
            self._events.publish(event_class(event.person_id, event.facts.get("other"), at=event.at))


def webhook_target(webhook: WebhookSettings) -> WebhookTarget:
    """What the sink of a webhook needs.

    Raises:
        SettingsError: no request can be made to the URL, or the CA certificates file cannot be used.
    """
    url = webhook.url.get_secret_value()
    if not _is_usable(url):
        raise SettingsError([f"webhooks.{webhook.name}.url: expected a URL to which a request can be made"])
    secrets = (webhook.secret.get_secret_value(), webhook.previous_secret.get_secret_value())
    try:
        tls = client_context(webhook.tls_verify) if url.startswith("https://") else True
    except OSError as error:
        path = ca_file(webhook.tls_verify)
        problem = f"the CA certificates file {path} cannot be used ({error.strerror or error})"
        raise SettingsError([f"webhooks.{webhook.name}.tls_verify: {problem}"]) from error
    return WebhookTarget(webhook.name, url, tuple(filter(None, secrets)), webhook.timeout_seconds, tls)


def _is_usable(url: str) -> bool:
    """Whether the HTTP client accepts the host, which it decodes, and the port."""
    try:
        parsed = httpx.URL(url)
        return bool(parsed.host) and (parsed.port or 1) < 65536
    except (httpx.InvalidURL, UnicodeError):
        return False
