"""The audit log: who read or changed what, and when. Entries are only added, and removed by age.

Entries name objects by kind and id, never by a person's name, so that the log outlives an erased person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId

from store.accounts.roles import Principal
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

COLLECTION = "audit"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    id: ObjectId
    at: datetime
    by: str
    """`user anna`, `token ci`, `owner`, `cli root`."""
    address: str
    """IP address of the client; empty for the command line."""
    action: str
    """What was done, such as `person.rename`."""
    object: str
    """Kind and id of the object, such as `person/12`; empty for an action without one."""
    details: Mapping[str, Any] = field(default_factory=dict)


class AuditLog:
    """The audit log of one owner."""

    def __init__(self, database: Database, owner: ObjectId) -> None:
        self._collection: Collection = database[COLLECTION]
        self._owner = owner

    async def record(
        self,
        principal: Principal,
        action: str,
        object_name: str = "",
        address: str = "",
        **details: str | float | bool | None,
    ) -> None:
        """Add an entry. Callers record a read before they send its result to the client.

        Raises:
            StoreError: it could not be stored.
        """
        document = {
            "_id": ObjectId(),
            "owner": self._owner,
            "at": datetime.now(UTC),
            "by": principal.name,
            "address": address,
            "action": action,
            "object": object_name,
            "details": details,
        }
        try:
            await self._collection.insert_one(document)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "audit.record") from error

    async def find(
        self,
        *,
        limit: int,
        before: ObjectId | None = None,
        by: str | None = None,
        action: str | None = None,
        object_name: str | None = None,
    ) -> list[AuditEntry]:
        """The latest entries first; `before` continues after an entry."""
        given = {"by": by, "action": action, "object": object_name}
        query: dict[str, Any] = {"owner": self._owner}
        query |= {name: value for name, value in given.items() if value is not None}
        if before is not None:
            query["_id"] = {"$lt": before}
        try:
            found = await self._collection.find(query, sort=[("_id", -1)], limit=limit).to_list(limit)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "audit.find") from error
        return [
            AuditEntry(
                one["_id"],
                one["at"].astimezone(UTC),
                one["by"],
                one["address"],
                one["action"],
                one["object"],
                one.get("details") or {},
            )
            for one in found
        ]

    async def prune(self, keep: timedelta) -> int:
        """Remove entries older than `keep`; returns their number."""
        query = {"owner": self._owner, "at": {"$lt": datetime.now(UTC) - keep}}
        try:
            return int((await self._collection.delete_many(query)).deleted_count)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "audit.prune") from error
