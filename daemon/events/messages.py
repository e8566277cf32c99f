"""Builds the message of an event from the current data in the store."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from daemon.events.payload import EventPayload, FacePart, MatchPart, PersonPart, VisitPart
from store import Context, Face
from store.collections.users import UserArgument
from store.collections.watch_lists import lists_of
from store.outbox.events import OutboxEvent


class MessageBuilder:
    """Builds messages for one user. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, ctx: Context, user: UserArgument, cameras: Collection[str] | None = None) -> None:
        """`cameras`: messages say only what these cameras have seen of a person. Default: all."""
        self._ctx = ctx
        self._user = user
        self._scope: dict[str, Any] = {} if cameras is None else {"cam_id": {"$in": list(cameras)}}

    async def build(self, event: OutboxEvent) -> EventPayload | None:
        """The message; None if the event's person no longer exists.

        The person of a visit is the person of its face at present, which a merge may have changed.
        """
        face, person = await self._face(event), None
        person_id = event.person_id if face is None else face.get("person_id")
        if person_id is not None and event.type == "person.erased":
            person = _erased(person_id)
        elif person_id is not None:
            person = await self._person(event, person_id)
            if person is None:
                return None
        other = event.facts.get("other")
        return EventPayload(
            id=event.id,
            type=event.type,
            time=event.at,
            box=self._ctx.box,
            camera=event.cam_id,
            visit=await self._visit(event),
            person=person,
            other_person=None if other is None else str(other),
            match=_match(event),
            face=None if face is None else _face(face),
            rule=event.facts.get("rule"),
            reason=event.facts.get("reason"),
        )

    async def _person(self, event: OutboxEvent, person_id: int) -> PersonPart | None:
        person = await self._ctx.persons.find_one(self._user, {"_id": person_id})
        if person is None:
            return None
        theirs: dict[str, Any] = {"person_id": person_id, **self._scope}
        first = await self._ctx.faces.find_one(self._user, theirs, sort=[("timestamp", 1)])
        before = None
        if (started_at := event.facts.get("started_at")) is not None:
            earlier = {
                **theirs,
                "timestamp": {"$lt": started_at},
                "detector_info.visit_id": {"$ne": event.visit_id},
            }
            before = await self._ctx.faces.find_one(self._user, earlier, sort=[("timestamp", -1)])
        return PersonPart(
            id=str(person_id),
            name=person.get("name"),
            new=event.facts.get("created") is True,
            friend=event.facts.get("friend") is True,
            lists=lists_of(person),
            first_seen=_time(first),
            previous_visit_ended_at=_time(before),
        )

    async def _visit(self, event: OutboxEvent) -> VisitPart | None:
        if event.visit_id is None or event.cam_id is None:
            return None
        here = {"detector_info.visit_id": event.visit_id}
        return VisitPart(
            id=event.visit_id,
            camera=event.cam_id,
            started_at=event.facts.get("started_at", event.at),
            ended_at=event.at if event.type == "visit.ended" else None,
            faces=await self._ctx.faces.count(self._user, here),
        )

    async def _face(self, event: OutboxEvent) -> Face | None:
        """The face that caused the event, or the latest face of its visit."""
        if (face_id := event.facts.get("face_id")) is not None:
            return await self._ctx.faces.find_one(self._user, {"_id": face_id})
        if event.visit_id is None:
            return None
        here = {"detector_info.visit_id": event.visit_id}
        return await self._ctx.faces.find_one(self._user, here, sort=[("timestamp", -1)])


def _erased(person_id: int) -> PersonPart:
    """The id alone, so that a receiver can remove what it has."""
    return PersonPart(
        id=str(person_id), name=None, new=False, friend=False, first_seen=None, previous_visit_ended_at=None
    )


def _match(event: OutboxEvent) -> MatchPart | None:
    outcome = event.facts.get("outcome")
    if not isinstance(outcome, str):
        return None
    return MatchPart(
        outcome=outcome,
        confidence=event.facts.get("confidence"),
        provisional=event.facts.get("provisional") is True,
    )


def _face(face: Face) -> FacePart | None:
    at, bbox, thumbnail = face.timestamp, face.bbox, face.get("thumbnail")
    if at is None or bbox is None:
        return None
    reachable = isinstance(thumbnail, str) and thumbnail.startswith(("http://", "https://"))
    return FacePart(
        id=str(face["_id"]),
        captured_at=at,
        quality=face.get("score") or 0.0,
        bbox=(bbox.left, bbox.top, bbox.right, bbox.bottom),
        thumbnail_url=thumbnail if reachable else None,
    )


def _time(face: Face | None) -> datetime | None:
    return None if face is None else face.timestamp
