"""The events that parts of the daemon and plugins receive from the bus."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from cameras.observer import CameraState
from pipeline.types import Facen
from store.spool.stored_sighting import StoredSighting


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    type: ClassVar[str]
    """Name of the event's type in metrics and messages."""
    at: datetime = field(default_factory=_now)
    """When it happened, UTC."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitStarted(Event):
    """The first usable face of a visit was found. The person is not identified yet."""

    type = "visit.started"
    cam_id: str
    visit_id: str
    started_at: datetime
    facen: Facen
    """The facen of this face."""
    pack: str
    """The model pack of the facen."""
    score: float
    """The quality score."""


@dataclass(frozen=True, slots=True)
class VisitUpdated(Event):
    """The identity of a visitor was determined, or changed."""

    type = "visit.updated"
    stored: StoredSighting
    """The sighting that determined the identity."""


@dataclass(frozen=True, slots=True)
class VisitEnded(Event):
    """A visit ended."""

    type = "visit.ended"
    cam_id: str
    visit_id: str
    started_at: datetime
    usable: bool
    """Whether the visit had a usable face, and therefore a `VisitStarted`."""
    sighting_follows: bool
    """Whether the last sighting of the visit is not stored yet."""


@dataclass(frozen=True, slots=True)
class SightingStored(Event):
    """A sighting was stored, with its person and pictures, and left the spool."""

    type = "sighting.stored"
    stored: StoredSighting


@dataclass(frozen=True, slots=True)
class PersonCreated(Event):
    """A person was created for a visitor whom no known face matches."""

    type = "person.created"
    person_id: int
    cam_id: str
    visit_id: str


@dataclass(frozen=True, slots=True)
class PersonChanged(Event):
    """A person was corrected or erased, by any process. Delivered at least once."""

    type = "person.changed"
    person_id: int
    other: int | None
    """The person who was merged into this one, or split off from it."""


@dataclass(frozen=True, slots=True)
class PersonRenamed(PersonChanged):
    type = "person.renamed"


@dataclass(frozen=True, slots=True)
class PersonMerged(PersonChanged):
    type = "person.merged"


@dataclass(frozen=True, slots=True)
class PersonSplit(PersonChanged):
    type = "person.split"


@dataclass(frozen=True, slots=True)
class PersonErased(PersonChanged):
    type = "person.erased"


@dataclass(frozen=True, slots=True)
class CameraStateChanged(Event):
    """The state of a camera, or the reason for it, changed."""

    type = "camera.state"
    cam_id: str
    state: CameraState
    reason: str
    """One word, as in `cameras.observer.CameraStatus`; empty for green."""


@dataclass(frozen=True, slots=True)
class CameraRemoved(Event):
    """A camera was removed from the settings or the collection, and has stopped."""

    type = "camera.removed"
    cam_id: str


@dataclass(frozen=True, slots=True)
class StoreStateChanged(Event):
    """Sightings can be stored again, or can no longer be stored."""

    type = "store.state"
    trouble: str
    """Why nothing can be stored; empty if sightings are stored."""


@dataclass(frozen=True, slots=True)
class BoxStarted(Event):
    """The daemon has started its cameras and opened the store."""

    type = "box.started"


EVENTS: tuple[type[Event], ...] = (
    VisitStarted,
    VisitUpdated,
    VisitEnded,
    SightingStored,
    PersonCreated,
    PersonRenamed,
    PersonMerged,
    PersonSplit,
    PersonErased,
    CameraStateChanged,
    CameraRemoved,
    StoreStateChanged,
    BoxStarted,
)
"""All event types."""
