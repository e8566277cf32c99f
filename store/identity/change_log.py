"""The recorded changes of persons, in MongoDB's collection `person_changes`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bson import ObjectId

from store.context import Context
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

CHANGES = "person_changes"
"""Name of the collection, and of the counter of its ids."""
COMPLETE: dict[str, Any] = {
    "$or": [
        {"kind": "merge", "other": {"$ne": None}, "document": {"$exists": True}},
        {"kind": "split", "other": {"$ne": None}, "faces": {"$exists": True}},
        {"kind": "rename"},
    ]
}
"""Filter for documents with all that is needed to apply or revert the change."""
ChangeKind = Literal["merge", "split", "rename"]


@dataclass(frozen=True, slots=True)
class Change:
    """One recorded change."""

    number: int
    kind: ChangeKind
    person: int
    """The person who exists before and after the change."""
    other: int | None
    """The person who was merged into `person`, or split off from them."""
    at: datetime
    by: str
    """`command`, `night` for the nightly job, or `enrolment`."""
    state: str
    """`begun`, `done` or `undone`."""
    name: str | None = None
    faces: int = 0
    """Number of moved faces."""


class ChangeLog:
    """Reads and writes the recorded changes. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, ctx: Context, by: str, now: Callable[[], datetime]) -> None:
        self._counters = ctx.counters
        self._by = by
        self._now = now
        self._changes: Collection = ctx.database[CHANGES]

    async def add(
        self, owner: ObjectId, kind: ChangeKind, person: int, other: int | None, **details: object
    ) -> dict[str, Any]:
        """Record a change that begins; returns its document."""
        await self._counters.ensure(CHANGES)
        change = {
            "_id": await self._counters.next(CHANGES),
            "owner": owner,
            "kind": kind,
            "person": person,
            "other": other,
            "at": self._now(),
            "by": self._by,
            "state": "begun",
            **details,
        }
        try:
            await self._changes.insert_one(dict(change))
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_changes.insert") from error
        return change

    async def latest(self, query: dict[str, Any]) -> dict[str, Any] | None:
        """The document of the latest change that matches."""
        try:
            found: dict[str, Any] | None = await self._changes.find_one(
                {"$and": [query, COMPLETE]}, sort=[("_id", -1)]
            )
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_changes.find_one") from error
        return found

    async def all(self, owner: ObjectId) -> list[Change]:
        """The owner's changes, the latest first."""
        try:
            found = self._changes.find({"owner": owner}).sort("_id", -1)
            return [to_change(change) async for change in found]
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_changes.find") from error

    async def set_state(self, change: dict[str, Any], state: str, **details: int) -> None:
        """Record the state of a change, and when it was reached."""
        update = {"$set": {"state": state, f"{state}_at": self._now(), **details}}
        try:
            await self._changes.update_one({"_id": change["_id"]}, update)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_changes.update") from error


def to_change(change: Mapping[str, Any]) -> Change:
    """Convert a document to a Change."""
    return Change(
        change["_id"],
        change["kind"],
        change["person"],
        change["other"],
        change["at"],
        change["by"],
        change["state"],
        change.get("name"),
        change.get("moved", 0),
    )
