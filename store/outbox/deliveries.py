"""Deliveries: which event waits for which sink, and when it is tried next.

A failed delivery holds back later events that share one of its order keys, and no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bson import ObjectId

from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.outbox.events import DELIVERIES, DUPLICATE_KEY, EVENTS, KEPT, OutboxEvent

DeliveryState = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a sink."""

    id: str
    event_id: str
    number: int
    order_keys: tuple[str, ...]
    attempts: int
    """Failed attempts so far."""
    since: datetime
    """When the event was queued for the sink."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Delivery":
        return cls(
            document["_id"],
            document["event_id"],
            document["number"],
            tuple(document["order_keys"]),
            document["attempts"],
            document["since"],
        )


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """What has become of one delivery."""

    event_id: str
    state: str
    attempts: int
    """Failed attempts."""
    since: datetime
    ended_at: datetime | None
    next_at: datetime | None
    """When a pending one is tried next."""
    reason: str
    """Why the latest attempt failed."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "DeliveryRecord":
        pending = document["state"] == "pending"
        return cls(
            document["event_id"],
            document["state"],
            document["attempts"],
            document["since"],
            None if pending else document.get("ended_at"),
            document["next_at"] if pending else None,
            str(document.get("reason") or ""),
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Unfinished deliveries of one sink."""

    pending: int
    oldest_since: datetime | None


class Deliveries:
    """The deliveries of one user's events from one box to one sink.

    Methods raise StoreError if MongoDB does not answer.
    """

    def __init__(self, database: Database, owner: ObjectId, box: str, sink: str) -> None:
        self._collection: Collection = database[DELIVERIES]
        self._events: Collection = database[EVENTS]
        self._owner = owner
        self._mine = {"owner": owner, "box": box, "sink": sink}
        self._prefix = f"{box}/{sink}"

    async def add(self, events: Sequence[OutboxEvent]) -> None:
        """Queue events for the sink, unless they are already queued or finished."""
        now = datetime.now(UTC)
        documents = [
            {
                "_id": f"{event.id} {self._prefix}",
                **self._mine,
                "event_id": event.id,
                "number": event.number,
                "order_keys": list(event.order_keys),
                "persons": [int(key.removeprefix("person ")) for key in event.order_keys if "person " in key],
                "state": "pending",
                "attempts": 0,
                "since": now,
                "next_at": now,
                "expires": now + KEPT,
            }
            for event in events
        ]
        if not documents:
            return
        try:
            await self._collection.insert_many(documents, ordered=False)
        except DRIVER_ERRORS as error:
            failed = (getattr(error, "details", None) or {}).get("writeErrors", [])
            if not failed or any(one.get("code") != DUPLICATE_KEY for one in failed):
                raise translate_error(error, "event_deliveries.insert") from error

    async def due(self, now: datetime, limit: int) -> list[Delivery]:
        """The oldest deliveries that can be tried now, at most one for each order key.

        A delivery that has to wait for an unfinished one with the same order key is postponed until that is
        due.
        """
        query = {**self._mine, "state": "pending", "next_at": {"$lte": now}}
        try:
            found = await self._collection.find(query).sort("number", 1).limit(limit).to_list(limit)
            chosen: list[Delivery] = []
            taken: set[str] = set()
            for document in found:
                keys = set(document["order_keys"])
                if keys & taken:
                    continue
                taken |= keys
                if (blocking := await self._earlier(document)) is None:
                    chosen.append(Delivery.from_document(document))
                elif blocking["next_at"] > now:
                    await self._set(document["_id"], {"next_at": blocking["next_at"]})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.find") from error
        return chosen

    async def next_at(self) -> datetime | None:
        """When the next delivery is due, or None."""
        query = {**self._mine, "state": "pending"}
        try:
            found = await self._collection.find_one(query, {"next_at": 1}, sort=[("next_at", 1)])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.find_one") from error
        return None if found is None else found["next_at"]

    async def event(self, delivery: Delivery) -> OutboxEvent | None:
        """The event to deliver; None if it was removed because its person was erased."""
        try:
            found = await self._events.find_one({"_id": delivery.event_id, "owner": self._owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "events.find_one") from error
        return None if found is None else OutboxEvent.from_document(found)

    async def finish(self, delivery: Delivery, state: DeliveryState, reason: str = "") -> None:
        await self._update(delivery, {"state": state, "reason": reason, "ended_at": datetime.now(UTC)})

    async def retry(self, delivery: Delivery, at: datetime, reason: str) -> None:
        await self._update(delivery, {"next_at": at, "attempts": delivery.attempts + 1, "reason": reason})

    async def retry_now(self) -> None:
        """Make all failed attempts due at once, because the receiver is back."""
        query = {**self._mine, "state": "pending", "next_at": {"$gt": datetime.now(UTC)}}
        try:
            await self._collection.update_many(query, {"$set": {"next_at": datetime.now(UTC)}})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.update") from error

    async def latest(self, limit: int, state: DeliveryState | None = None) -> list[DeliveryRecord]:
        """The deliveries of the latest events first, of one state or of all."""
        query: dict[str, Any] = {**self._mine, "state": state or {"$in": ["pending", "delivered", "dead"]}}
        try:
            found = await self._collection.find(query).sort("number", -1).limit(limit).to_list(limit)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.find") from error
        return [DeliveryRecord.from_document(document) for document in found]

    async def resend(self, event: OutboxEvent) -> None:
        """Deliver the event again, or for the first time, whatever has become of it."""
        await self.add([event])
        await self._revive({**self._mine, "event_id": event.id, "number": event.number})

    async def resend_dead(self) -> int:
        """Deliver again what was given up; returns the number."""
        return await self._revive({**self._mine, "state": "dead"})

    async def _revive(self, query: Mapping[str, Any]) -> int:
        now = datetime.now(UTC)
        pending = {"state": "pending", "attempts": 0, "since": now, "next_at": now, "reason": ""}
        try:
            result = await self._collection.update_many(dict(query), {"$set": pending})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.update") from error
        return int(result.modified_count)

    async def discard(self, delivery: Delivery) -> None:
        """Remove a delivery whose event is gone."""
        try:
            await self._collection.delete_one({"_id": delivery.id})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.delete") from error

    async def give_up_all(self, reason: str) -> int:
        """Finish all pending deliveries as dead; returns their number."""
        update = {"$set": {"state": "dead", "reason": reason, "ended_at": datetime.now(UTC)}}
        try:
            result = await self._collection.update_many({**self._mine, "state": "pending"}, update)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.update") from error
        return int(result.modified_count)

    async def waiting(self) -> Waiting:
        query = {**self._mine, "state": "pending"}
        try:
            number = int(await self._collection.count_documents(query))
            oldest = await self._collection.find_one(query, {"since": 1}, sort=[("number", 1)])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.count") from error
        return Waiting(number, None if oldest is None else oldest["since"])

    async def counts(self) -> dict[str, int]:
        """Number of deliveries by state."""
        steps: list[dict[str, Any]] = [
            {"$match": self._mine},
            {"$group": {"_id": "$state", "number": {"$sum": 1}}},
        ]
        try:
            rows = await self._collection.aggregate(steps).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.count") from error
        return {row["_id"]: int(row["number"]) for row in rows}

    async def _earlier(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The latest unfinished earlier delivery that shares an order key with this one."""
        query = {
            **self._mine,
            "state": "pending",
            "order_keys": {"$in": document["order_keys"]},
            "number": {"$lt": document["number"]},
        }
        found: Mapping[str, Any] | None = await self._collection.find_one(
            query, {"next_at": 1}, sort=[("number", -1)]
        )
        return found

    async def _update(self, delivery: Delivery, values: Mapping[str, Any]) -> None:
        try:
            await self._set(delivery.id, values)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "event_deliveries.update") from error

    async def _set(self, delivery_id: str, values: Mapping[str, Any]) -> None:
        await self._collection.update_one({"_id": delivery_id}, {"$set": dict(values)})
