"""What happens in the daemon: typed events, and the bus that delivers them."""

from daemon.events.bus import EventBus, Subscription
from daemon.events.types import (
    EVENTS,
    BoxStarted,
    CameraRemoved,
    CameraStateChanged,
    Event,
    PersonCreated,
    SightingStored,
    StoreStateChanged,
    VisitEnded,
    VisitStarted,
    VisitUpdated,
)

__all__ = [
    "EVENTS",
    "BoxStarted",
    "CameraRemoved",
    "CameraStateChanged",
    "Event",
    "EventBus",
    "PersonCreated",
    "SightingStored",
    "StoreStateChanged",
    "Subscription",
    "VisitEnded",
    "VisitStarted",
    "VisitUpdated",
]
