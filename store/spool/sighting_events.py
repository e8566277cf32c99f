"""Writes the events of a stored sighting to the outbox: visit started, updated or ended, person created."""

from collections import OrderedDict
from datetime import datetime
from typing import Any

from pipeline.types import Sighting
from store.collections.users import UserArgument
from store.context import Context
from store.face import Face
from store.outbox.events import NewEvent, Outbox

REMEMBERED_VISITS = 1000

_Identity = tuple[int | None, bool]
"""A person id, and whether it is provisional."""


class SightingEvents:
    """Writes the events of one user's sightings. Can be repeated: each event is written once."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self._outbox: Outbox | None = None
        self._visits: OrderedDict[str, _Identity] = OrderedDict()
        """The identity in the latest event of each visit."""

    async def write(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        """Write the events that follow from a stored face.

        Raises:
            StoreError: MongoDB does not answer.
        """
        outbox, visit, person = await self._open_outbox(), sighting.visit_id, face.get("person_id")
        before = await self._identity(outbox, visit)
        facts = _facts(sighting, face)

        def event(kind: str, subject: str, at: datetime = sighting.captured_at) -> NewEvent:
            return NewEvent(kind, subject, at, sighting.cam_id, visit, person, facts)

        events = []
        if before is None:
            events.append(event("visit.started", visit))
        elif before != (person, False):
            events.append(event("visit.updated", sighting_id))
        if face.get("person_created") is True and person is not None:
            events.append(event("person.created", str(person)))
        if (ended_at := _time(sighting, "visit_ended_at")) is not None:
            events.append(event("visit.ended", visit, ended_at))
        await outbox.add(events)
        self._remember(visit, (person, False))

    async def _open_outbox(self) -> Outbox:
        if self._outbox is None:
            owner = await self._ctx.users.owner(self._user)
            self._outbox = Outbox(self._ctx.database, owner, self._ctx.box)
        return self._outbox

    async def _identity(self, outbox: Outbox, visit: str) -> _Identity | None:
        if visit in self._visits:
            return self._visits[visit]
        last = await outbox.last_of_visit(visit)
        return None if last is None else (last.person_id, last.facts.get("provisional") is True)

    def _remember(self, visit: str, identity: _Identity) -> None:
        self._visits[visit] = identity
        self._visits.move_to_end(visit)
        if len(self._visits) > REMEMBERED_VISITS:
            self._visits.popitem(last=False)


def _time(sighting: Sighting, key: str) -> datetime | None:
    """A time of the visit, which the pipeline hands over as text; None if it is missing or malformed."""
    try:
        at = datetime.fromisoformat(str(sighting.detector_info.get(key, "")))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _facts(sighting: Sighting, face: Face) -> dict[str, Any]:
    """Facts for a message, besides ids. Names and pictures are read when it is delivered."""
    return {
        "face_id": face["_id"],
        "started_at": _time(sighting, "visit_started_at") or sighting.captured_at,
        "outcome": face.get("person_outcome"),
        "confidence": face.get("confidence"),
        "created": face.get("person_created") is True,
        "friend": face.get("friend") is True,
        "provisional": False,
    }
