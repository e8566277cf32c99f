"""The event bus: delivers each event to all subscribers of its type.

A producer never waits. Each subscriber has its own bounded queue. When it is full, its oldest event is
dropped, counted and logged; other subscribers are not affected.
"""

import asyncio
import contextlib
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog

from daemon.events.types import Event
from pipeline.base.background import supervised
from pipeline.base.log_limiter import LogLimiter

log = structlog.get_logger(__name__)

E = TypeVar("E", bound=Event)

CAPACITY = 1000
"""Default length of a subscriber's queue."""


class BusObserver(Protocol):
    """Counts published and dropped events. Methods must return at once."""

    def event_published(self, event_type: str) -> None: ...
    def event_dropped(self, subscriber: str) -> None: ...


class UnobservedBus:
    """An observer that ignores everything."""

    def event_published(self, event_type: str) -> None: ...
    def event_dropped(self, subscriber: str) -> None: ...


class Subscription(Generic[E]):
    """The queue of a subscriber. Iterating over it yields the oldest event first, and ends once it is
    closed."""

    def __init__(
        self, name: str, types: Sequence[type[E]], capacity: int, on_dropped: Callable[[], None]
    ) -> None:
        self.name = name
        self._types = tuple(types)
        self._capacity = capacity
        self._on_dropped = on_dropped
        self._queued: deque[E] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._log_limiter = LogLimiter("dropped_since")

    def __len__(self) -> int:
        return len(self._queued)

    def __aiter__(self) -> "Subscription[E]":
        return self

    async def __anext__(self) -> E:
        while not self._queued:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._queued.popleft()

    def offer(self, event: Event) -> None:
        """Queue the event if the subscription includes its type. Never waits."""
        if self._closed or not isinstance(event, self._types):
            return
        if len(self._queued) >= self._capacity:
            self._queued.popleft()
            self._drop()
        self._queued.append(event)
        self._changed.set()

    def close(self) -> None:
        """Stop accepting events; iteration ends after the queued ones."""
        self._closed = True
        self._changed.set()

    def _drop(self) -> None:
        self._on_dropped()
        if (more := self._log_limiter.due(time.monotonic())) is not None:
            log.warning("events are dropped: their subscriber is too slow", subscriber=self.name, **more)


class EventBus:
    """Delivers events. Methods must be called on the event loop, except `publish_from_thread`."""

    def __init__(self, observer: BusObserver | None = None) -> None:
        self._observer = observer or UnobservedBus()
        self._subscriptions: dict[Subscription[Any], asyncio.Task[None] | None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, event: Event) -> None:
        """Queue the event for each subscriber. Never waits and never fails."""
        self._observer.event_published(event.type)
        for subscription in self._subscriptions:
            subscription.offer(event)

    def publish_from_thread(self, event: Event) -> None:
        """As `publish`, from any thread. Events of one thread arrive in order."""
        if (loop := self._loop) is None:
            return  # no subscriber yet
        with contextlib.suppress(RuntimeError):  # the loop has ended, and all subscribers with it
            loop.call_soon_threadsafe(self.publish, event)

    def subscribe(
        self,
        name: str,
        types: Sequence[type[E]],
        *,
        capacity: int = CAPACITY,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> Subscription[E]:
        """Subscribe to events of these types and their subtypes; the caller iterates over the result.

        Args:
            name: the subscriber's name in metrics and log.
            on_dropped: called for each dropped event.
        """

        def dropped() -> None:
            self._observer.event_dropped(name)
            on_dropped()

        self._loop = asyncio.get_running_loop()
        subscription = Subscription(name, types, capacity, dropped)
        self._subscriptions[subscription] = None
        return subscription

    def handle(
        self,
        name: str,
        types: Sequence[type[E]],
        handler: Callable[[E], Awaitable[None] | None],
        *,
        capacity: int = CAPACITY,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> Subscription[E]:
        """As `subscribe`, with a supervised task that calls `handler` for each event in turn.

        An exception in the handler ends the process, as in every background task.
        """
        subscription = self.subscribe(name, types, capacity=capacity, on_dropped=on_dropped)
        task = supervised(_call(subscription, handler), f"subscriber {name}")
        self._subscriptions[subscription] = task
        return subscription

    async def remove(self, subscription: Subscription[E], timeout_seconds: float) -> None:
        """End a subscription after its queued events, or after the timeout."""
        task = self._subscriptions.pop(subscription, None)
        await self._end(subscription, task, timeout_seconds)

    async def close(self, timeout_seconds: float) -> None:
        """End all subscriptions after their queued events, or after the timeout."""
        ending, self._subscriptions = self._subscriptions, {}
        await asyncio.gather(*(self._end(one, task, timeout_seconds) for one, task in ending.items()))

    async def _end(
        self, subscription: Subscription[E], task: asyncio.Task[None] | None, timeout_seconds: float
    ) -> None:
        subscription.close()
        if task is None:
            return
        _, late = await asyncio.wait({task}, timeout=timeout_seconds)
        if late:
            log.warning(
                "a subscriber did not handle its events in time",
                subscriber=subscription.name,
                events=len(subscription),
            )
            task.cancel()
            await asyncio.wait({task}, timeout=timeout_seconds)


async def _call(subscription: Subscription[E], handler: Callable[[E], Awaitable[None] | None]) -> None:
    async for event in subscription:
        result = handler(event)
        if inspect.isawaitable(result):
            await result
