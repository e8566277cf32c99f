"""Delivers events of the outbox to the sinks: at least once, in order per person, each sink on its own."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from daemon.events.payload import EventPayload
from daemon.events.sinks.sink import DeliveryResult, RetryClass, Sink
from pipeline.base.background import wait_at_most
from pipeline.base.backoff import Backoff
from store.errors import StoreError
from store.outbox.deliveries import Deliveries, Delivery
from store.outbox.events import Outbox, OutboxEvent

log = structlog.get_logger(__name__)

RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0)
"""Pauses after the first failures; the last one repeats."""
JITTER = 0.2
AT_ONCE = 8
"""Maximum number of concurrent deliveries to one sink."""
BATCH = 64
ROUTED_AT_ONCE = 200
IDLE_SECONDS = 10.0
"""Maximum time between two looks at the outbox, for a MongoDB without change streams."""
STATISTICS_SECONDS = 5.0

BuildPayload = Callable[[OutboxEvent], Awaitable[EventPayload | None]]
"""Makes the message of an event as things are now; None if its person is gone."""


class DeliveryObserver(Protocol):
    def delivery(self, sink: str, outcome: str) -> None:
        """An attempt ended: delivered, retried or dead."""
        ...

    def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class SinkRoute:
    """A sink with what it gets, and how long it is tried."""

    sink: Sink
    deliveries: Deliveries
    wants: Callable[[OutboxEvent], bool]
    give_up_after: timedelta
    off_reason: str = ""
    """Why it is switched off; empty if it is not."""
    switch_off: Callable[[str], Awaitable[None]] | None = None
    """Remembers that the receiver has unsubscribed, and why."""


class SinkWorker:
    """Delivers the queued events of one sink until cancelled."""

    def __init__(self, route: SinkRoute, build: BuildPayload, observer: DeliveryObserver) -> None:
        self.route = route
        self._build = build
        self._observer = observer
        self._wake = asyncio.Event()
        self._failing = False
        self._off = route.off_reason
        self._counted_at = 0.0

    def wake(self) -> None:
        """There are new deliveries."""
        self._wake.set()

    async def run(self) -> None:
        backoff = Backoff(1.0, 30.0)
        while True:
            self._wake.clear()
            try:
                worked = await self._round()
                await self._count()
                pause = 0.0 if worked else await self._seconds_to_next()
            except StoreError as error:
                log.debug("deliveries wait for the store", sink=self.route.sink.name, reason=str(error))
                pause = backoff.pause_seconds()
            else:
                backoff.reset()
            if pause > 0:
                await wait_at_most(self._wake, pause)

    async def _round(self) -> bool:
        """Try what is due; whether there was anything."""
        due = await self.route.deliveries.due(datetime.now(UTC), BATCH)
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._attempt(one) for one in due[start : start + AT_ONCE]))
        return bool(due)

    async def _attempt(self, delivery: Delivery) -> None:
        deliveries, sink = self.route.deliveries, self.route.sink
        if self._off:
            await deliveries.finish(delivery, "dead", f"switched off: {self._off}")
            self._observer.delivery(sink.name, "dead")
            return
        event = await deliveries.event(delivery)
        payload = None if event is None else await self._build(event)
        if payload is None:
            await deliveries.discard(delivery)
            return
        await self._settle(delivery, await sink.deliver(payload))

    async def _settle(self, delivery: Delivery, result: DeliveryResult) -> None:
        deliveries, name = self.route.deliveries, self.route.sink.name
        match result.retry_class:
            case RetryClass.DELIVERED:
                await deliveries.finish(delivery, "delivered")
                self._observer.delivery(name, "delivered")
                self._report(None)
            case RetryClass.RETRY:
                now = datetime.now(UTC)
                if now - delivery.since >= self.route.give_up_after:
                    await self._dead(delivery, f"given up: {result.reason}")
                else:
                    pause = pause_seconds(delivery.attempts, result.retry_after_seconds)
                    await deliveries.retry(delivery, now + timedelta(seconds=pause), result.reason)
                    self._observer.delivery(name, "retried")
                self._report(result.reason)
            case RetryClass.DEAD:
                await self._dead(delivery, result.reason)
                self._report(result.reason)
            case RetryClass.OFF:
                self._off = result.reason
                await self._dead(delivery, result.reason)
                number = await deliveries.give_up_all(result.reason)
                log.error(
                    "a sink is switched off: its receiver has unsubscribed",
                    sink=name,
                    reason=result.reason,
                    events_given_up=number + 1,
                )
                if self.route.switch_off is not None:  # the last step: this worker may be replaced then
                    await self.route.switch_off(result.reason)

    async def _dead(self, delivery: Delivery, reason: str) -> None:
        await self.route.deliveries.finish(delivery, "dead", reason)
        self._observer.delivery(self.route.sink.name, "dead")

    def _report(self, trouble: str | None) -> None:
        """One log line when deliveries begin to fail, and one when they work again."""
        failing = trouble is not None
        if failing and not self._failing:
            log.warning("events cannot be delivered", sink=self.route.sink.name, reason=trouble)
        elif self._failing and not failing:
            log.info("events are delivered again", sink=self.route.sink.name)
        self._failing = failing

    async def _seconds_to_next(self) -> float:
        next_at = await self.route.deliveries.next_at()
        if next_at is None:
            return IDLE_SECONDS
        return min(max((next_at - datetime.now(UTC)).total_seconds(), 0.01), IDLE_SECONDS)

    async def _count(self) -> None:
        if time.monotonic() - self._counted_at < STATISTICS_SECONDS:
            return
        waiting = await self.route.deliveries.waiting()
        oldest = waiting.oldest_since
        seconds = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        self._observer.deliveries_waiting(self.route.sink.name, waiting.pending, max(0.0, seconds))
        self._counted_at = time.monotonic()


class EventRouter:
    """Queues new events of the outbox for the sinks that want them, until cancelled."""

    def __init__(
        self,
        outbox: Outbox,
        workers: Callable[[], Sequence[SinkWorker]],
        on_event: Callable[[OutboxEvent], None],
        evaluate: Callable[[Sequence[OutboxEvent]], Awaitable[None]] | None = None,
    ) -> None:
        """`on_event` and `evaluate` are called with each event at least once; `evaluate` may write events."""
        self._evaluate = evaluate
        self._outbox = outbox
        self._workers = workers
        self._on_event = on_event
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """The outbox has changed."""
        self._wake.set()

    async def run(self) -> None:
        backoff = Backoff(1.0, 30.0)
        while True:
            self._wake.clear()
            pause = IDLE_SECONDS
            try:
                while await self.route_new():
                    backoff.reset()
            except StoreError as error:
                log.debug("the outbox cannot be read at present", reason=str(error))
                pause = backoff.pause_seconds()
            await wait_at_most(self._wake, pause)

    async def route_new(self) -> bool:
        """Queue the oldest events that are not queued yet; whether there were any."""
        events = await self._outbox.unrouted(ROUTED_AT_ONCE)
        for worker in self._workers():
            wanted = [event for event in events if worker.route.wants(event)]
            await worker.route.deliveries.add(wanted)
            if wanted:
                worker.wake()
        if events:
            if self._evaluate is not None:
                await self._evaluate(events)
            await self._outbox.mark_routed(events)
        for event in events:
            self._on_event(event)
        return bool(events)


def pause_seconds(attempts: int, retry_after_seconds: float | None = None) -> float:
    """The pause before the next attempt, after this number of earlier failures."""
    usual = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS) - 1)]
    jittered = usual * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing
    return max(jittered, retry_after_seconds or 0.0)
