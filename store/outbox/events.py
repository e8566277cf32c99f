"""The outbox: events that must reach their receivers, kept in MongoDB until they expire.

The id of an event is derived from what it reports, so that a repeated step writes no second event. Facts are
ids, times and outcomes: names and pictures are read when the event is delivered.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Collection as Several
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from bson.int64 import Int64
from pymongo.errors import BulkWriteError

from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.ids import TimeOrderedIds

EVENTS = "events"
DELIVERIES = "event_deliveries"
KEPT = timedelta(days=7)
"""Time for which events are kept, to be listed and delivered again."""
DUPLICATE_KEY = 11000
PAGE = 500

_numbers = TimeOrderedIds()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to write."""

    type: str
    subject: str
    """Distinguishes events of the same type, such as the id of a sighting."""
    at: datetime
    """When it happened, UTC."""
    cam_id: str | None = None
    visit_id: str | None = None
    person_id: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """A written event."""

    id: str
    """Stays the same when the event is delivered again."""
    number: int
    """Increases in the order of writing."""
    type: str
    at: datetime
    cam_id: str | None
    visit_id: str | None
    person_id: int | None
    facts: Mapping[str, Any]
    order_keys: tuple[str, ...]
    """Events that share a key are delivered in the order of their numbers."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "OutboxEvent":
        return cls(
            document["_id"],
            document["number"],
            document["type"],
            document["at"],
            document.get("cam_id"),
            document.get("visit_id"),
            document.get("person_id"),
            document.get("facts") or {},
            tuple(document["order_keys"]),
        )


class Outbox:
    """The events of one user, written by one box. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, database: Database, owner: ObjectId, box: str) -> None:
        self._events: Collection = database[EVENTS]
        self._deliveries: Collection = database[DELIVERIES]
        self._owner = owner
        self._box = box

    async def add(self, events: Sequence[NewEvent]) -> None:
        """Write events. An event that already exists is not changed."""
        if not events:
            return
        try:
            await self._events.insert_many([self._document(event) for event in events], ordered=False)
        except BulkWriteError as error:
            failed = (error.details or {}).get("writeErrors", [])
            if not failed or any(one.get("code") != DUPLICATE_KEY for one in failed):
                raise translate_error(error, "events.insert") from error
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.insert") from error

    async def last_of_visit(self, visit_id: str) -> OutboxEvent | None:
        """The latest event of this visit, or None."""
        query = {"owner": self._owner, "visit_id": visit_id, "facts.rule": {"$exists": False}}
        try:
            found = await self._events.find_one(query, sort=[("number", -1)])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find_one") from error
        return None if found is None else OutboxEvent.from_document(found)

    async def last_match(self, rule: str, person_id: int | None, cam_id: str | None) -> OutboxEvent | None:
        """The latest match of a watch rule with this person; without one: with nobody, at this camera."""
        of_whom = {"cam_id": cam_id, "person_id": None} if person_id is None else {"person_id": person_id}
        query = {"owner": self._owner, "facts.rule": rule, **of_whom}
        try:
            found = await self._events.find_one(query, sort=[("number", -1)])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find_one") from error
        return None if found is None else OutboxEvent.from_document(found)

    async def matches(
        self, limit: int, *, unacknowledged: bool = False, cameras: Several[str] | None = None
    ) -> list[OutboxEvent]:
        """Matches of watch rules, latest first. `cameras`: only of these."""
        query: dict[str, Any] = {"owner": self._owner, "facts.rule": {"$exists": True}}
        if unacknowledged:
            query["facts.acknowledged_by"] = {"$exists": False}
        if cameras is not None:
            query["cam_id"] = {"$in": list(cameras)}
        return await self._found(query, -1, limit)

    async def acknowledge(self, event_id: str, by: str) -> bool:
        """Record who has acknowledged a match of a rule. Returns False if there is no match with this id."""
        query = {"_id": event_id, "owner": self._owner, "facts.rule": {"$exists": True}}
        update = {"$set": {"facts.acknowledged_by": by, "facts.acknowledged_at": datetime.now(UTC)}}
        try:
            result = await self._events.update_one(query, update)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.update") from error
        return bool(result.matched_count)

    async def forget(self, persons: Several[int]) -> None:
        """Remove all events of these persons, and their deliveries."""
        theirs = {"owner": self._owner, "persons": {"$in": list(persons)}}
        try:
            await self._deliveries.delete_many(theirs)
            await self._events.delete_many(theirs)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.delete") from error

    async def get(self, event_id: str) -> OutboxEvent | None:
        """The event with this id; None if it has expired, or its person was erased."""
        try:
            found = await self._events.find_one({"_id": event_id, "owner": self._owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find_one") from error
        return None if found is None else OutboxEvent.from_document(found)

    async def after(self, number: int) -> AsyncIterator[OutboxEvent]:
        """The user's events with larger numbers, from all boxes, oldest first."""
        query = {"owner": self._owner, "number": {"$gt": number}}
        try:
            async for document in self._events.find(query).sort("number", 1).batch_size(PAGE):
                yield OutboxEvent.from_document(document)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find") from error

    async def following(self, number: int, limit: int) -> list[OutboxEvent]:
        """The user's next events with larger numbers, from all boxes, oldest first."""
        query = {"owner": self._owner, "number": {"$gt": number}}
        return await self._found(query, 1, limit)

    async def latest(
        self,
        limit: int,
        below: int | None = None,
        event_type: str | None = None,
        cameras: Several[str] | None = None,
    ) -> list[OutboxEvent]:
        """The user's events from all boxes, latest first. `cameras`: only events of these."""
        query: dict[str, Any] = {"owner": self._owner}
        if below is not None:
            query["number"] = {"$lt": below}
        if event_type is not None:
            query["type"] = event_type
        if cameras is not None:
            query["cam_id"] = {"$in": list(cameras)}
        return await self._found(query, -1, limit)

    async def _found(self, query: dict[str, Any], order: int, limit: int) -> list[OutboxEvent]:
        try:
            found = await self._events.find(query).sort("number", order).limit(limit).to_list(limit)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find") from error
        return [OutboxEvent.from_document(document) for document in found]

    async def last_number(self) -> int:
        """The number of the latest event; 0 without one."""
        try:
            found = await self._events.find_one({"owner": self._owner}, {"number": 1}, sort=[("number", -1)])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find_one") from error
        return 0 if found is None else int(found["number"])

    async def unrouted(self, limit: int) -> list[OutboxEvent]:
        """The oldest events of this box that have no deliveries yet."""
        query = {"owner": self._owner, "box": self._box, "routed": False}
        try:
            found = await self._events.find(query).sort("number", 1).limit(limit).to_list(limit)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find") from error
        return [OutboxEvent.from_document(document) for document in found]

    async def mark_routed(self, events: Sequence[OutboxEvent]) -> None:
        ids = [event.id for event in events]
        try:
            await self._events.update_many({"_id": {"$in": ids}}, {"$set": {"routed": True}})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.update") from error

    def _document(self, event: NewEvent) -> dict[str, Any]:
        others = [event.facts[name] for name in ("other", "merged") if isinstance(event.facts.get(name), int)]
        persons = [Int64(one) for one in (event.person_id, *others) if one is not None]
        return {
            "_id": event_id(self._owner, event.type, event.subject),
            "owner": self._owner,
            "box": self._box,
            "number": Int64(_numbers.next()),
            "type": event.type,
            "at": event.at,
            "cam_id": event.cam_id,
            "visit_id": event.visit_id,
            "person_id": None if event.person_id is None else Int64(event.person_id),
            "persons": persons,
            "order_keys": [
                *(f"person {person}" for person in persons),
                *([f"visit {event.visit_id}"] if event.visit_id else []),
                *([f"camera {event.cam_id}"] if event.cam_id and not event.visit_id else []),
            ]
            or ["box"],
            "facts": dict(event.facts),
            "routed": False,
            "expires": datetime.now(UTC) + KEPT,
        }


def event_id(owner: ObjectId, event_type: str, subject: str) -> str:
    """The id of an event, without the characters that separate the parts of a signed message."""
    digest = hashlib.sha256(f"{owner}\n{event_type}\n{subject}".encode()).hexdigest()
    return f"evt_{digest[:32]}"
