"""The message of an event, as sinks deliver it. `SCHEMA_VERSION` increases when the meaning of a field
changes."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION: Literal[1] = 1


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VisitPart(Part):
    id: str
    camera: str
    started_at: datetime
    ended_at: datetime | None = None
    """Present in `visit.ended`."""
    faces: int
    """Stored faces of this visit so far."""


class PersonPart(Part):
    id: str
    """The person id as text, because JavaScript loses digits of large numbers."""
    name: str | None
    """None for an unnamed person."""
    new: bool
    """Whether this visit is the person's first."""
    friend: bool
    """Whether the person is a friend of the camera."""
    lists: tuple[str, ...] = ()
    """Names of the watch lists that the person is on."""
    first_seen: datetime | None
    previous_visit_ended_at: datetime | None
    """When the person was last seen before this visit; None if never."""


class MatchPart(Part):
    outcome: str
    """`matched`, `created`, `ambiguous` or `withheld`; the last two have no person."""
    confidence: float | None
    """From 0 to 1; None without a match."""
    provisional: bool
    """Whether the identity may still change, because the visit has just begun."""


class FacePart(Part):
    id: str
    captured_at: datetime
    quality: float
    """0 is perfect, worse is more negative."""
    bbox: tuple[float, float, float, float]
    """Left, top, right, bottom, in pixels of the photo; may be negative."""
    thumbnail_url: str | None
    """None if the pictures are in a local folder without `uploads.base_url`."""


class EventPayload(Part):
    """The message."""

    id: str
    """Stays the same when the event is delivered again."""
    type: str
    version: Literal[1] = SCHEMA_VERSION
    time: datetime
    """When it happened, UTC."""
    box: str
    camera: str | None = None
    visit: VisitPart | None = None
    person: PersonPart | None = None
    other_person: str | None = None
    """The person who was merged into `person`, or split off from it."""
    match: MatchPart | None = None
    face: FacePart | None = None
    rule: str | None = None
    """The name of the watch rule, in `rule.matched`."""
    reason: str | None = None
    """Why a camera or the store is down."""
