"""Calls the plugins' hooks after storing and their subscribers, in the background and in order."""

from collections.abc import Callable, Sequence
from typing import Any

from daemon.events.bus import EventBus, Subscription
from daemon.events.types import Event, SightingStored
from daemon.plugins.hook import Hook

MAX_WAITING_EVENTS = 1000
"""Queue length of a slow hook; beyond it, the oldest events are dropped."""

DRAIN_SECONDS = 0.5


class EventHook:
    """Calls a plugin's function with the events that it subscribed to, in order."""

    def __init__(self, hook: Hook, types: Sequence[type[Event]], payload: Callable[[Any], object]) -> None:
        """`payload` converts an event to the function's argument."""
        self._hook = hook
        self._types = types
        self._payload = payload
        self._subscription: Subscription[Event] | None = None

    @classmethod
    def after_storing(cls, hook: Hook) -> "EventHook":
        """A hook after storing, which gets the stored sighting instead of the event."""
        return cls(hook, [SightingStored], lambda event: event.stored)

    @classmethod
    def subscriber(cls, hook: Hook, types: Sequence[type[Event]]) -> "EventHook":
        return cls(hook, types, lambda event: event)

    def open(self, events: EventBus) -> None:
        self._subscription = events.handle(
            f"plugin {self._hook.plugin.name}",
            self._types,
            self._deliver,
            capacity=MAX_WAITING_EVENTS,
            on_dropped=self._count_lost,
        )

    async def close(self, events: EventBus) -> None:
        """Deliver queued events for up to `DRAIN_SECONDS`."""
        if self._subscription is not None:
            await events.remove(self._subscription, DRAIN_SECONDS)

    async def _deliver(self, event: Event) -> None:
        if self._hook.rests:
            self._count_lost()
            return
        try:
            await self._hook.call(self._payload(event), accept=lambda _: None)
        except Exception:  # noqa: BLE001 - the hook has logged and counted it
            self._count_lost()

    def _count_lost(self) -> None:
        self._hook.plugin.lost += 1
