"""Typed events of the daemon, and the bus that delivers them."""

from daemon.events.bus import EventBus, Subscription
from daemon.events.types import (
    EVENTS,
    BoxStarted,
    CameraRemoved,
    CameraStateChanged,
    Event,
    PersonChanged,
    PersonCreated,
    PersonErased,
    PersonMerged,
    PersonRenamed,
    PersonSplit,
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
    "PersonChanged",
    "PersonCreated",
    "PersonErased",
    "PersonMerged",
    "PersonRenamed",
    "PersonSplit",
    "SightingStored",
    "StoreStateChanged",
    "Subscription",
    "VisitEnded",
    "VisitStarted",
    "VisitUpdated",
]
