"""The protocol of a sink, which delivers events to one receiver outside the daemon."""

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Protocol

from daemon.events.payload import EventPayload


class RetryClass(StrEnum):
    """What follows from one attempt."""

    DELIVERED = auto()
    RETRY = auto()
    """The receiver may take it later."""
    DEAD = auto()
    """The receiver will never take this event; others it may."""
    OFF = auto()
    """The receiver has unsubscribed."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    retry_class: RetryClass
    reason: str = ""
    """Why it was not delivered, in words and without secrets; empty if it was."""
    retry_after_seconds: float | None = None
    """The receiver asks for this pause."""


class Sink(Protocol):
    """Delivers events to one receiver, in any number of concurrent calls. Keeps no queue."""

    @property
    def name(self) -> str:
        """Unique among all sinks; a label of metrics."""
        ...

    async def deliver(self, payload: EventPayload) -> DeliveryResult:
        """Try once to deliver the event, within the sink's own time limit.

        Whatever the receiver or the network does is a result. An exception is a programming error.
        """
        ...

    async def close(self) -> None:
        """Release connections; called once, after the last delivery."""
        ...
