"""Leases with terms: which box reads a camera, which box runs a job of its owner.

Boxes that share an owner and a database share their cameras. A box renews the leases of what it works on.
A lease that is not renewed expires by the server's clock; the next box takes it, under the next term. A box
that cannot reach MongoDB goes on reading its cameras. Its sightings are judged by the terms when MongoDB is
back: one from a time in which another box held the camera's lease is a duplicate.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from collections.abc import Collection as Names
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from store.errors import StoreError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, ours

LEASE_SECONDS = 20.0
"""A lease expires this long after its last renewal."""
RENEW_SECONDS = 5.0
"""Interval between renewals; three may fail before the lease expires."""
TERMS_KEPT = 32
"""Terms remembered for each lease."""
DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class TermLease:
    """A lease as of the last renewal. Times are UTC, by the server's clock."""

    name: str
    box: str
    """Name of the box that holds it."""
    is_ours: bool
    """This process holds it."""
    term: int
    """Counts the holders."""
    since: datetime
    """Begin of the term."""
    expires: datetime


class TermLeases:
    """Leases on what belongs to one owner, as seen by one process of one box."""

    def __init__(self, database: Database, kind: Literal["camera", "job"], owner: ObjectId, box: str) -> None:
        self._operation = f"{kind}_leases"
        self._collection: Collection = database[self._operation]
        self._owner = owner
        self._box = box
        self._holder = ObjectId()

    async def renew(self, names: Names[str]) -> dict[str, TermLease]:
        """Take the leases that are free, extend those held by this process, and return all of them.

        Raises:
            StoreError: MongoDB does not answer.
        """
        if not names:
            return {}
        updates = [
            UpdateOne({"_id": self._key(name)}, self._take_or_extend(name), upsert=True) for name in names
        ]
        try:
            await self._collection.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            # Two boxes created the document at the same time; the other one was faster.
            if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
                raise ours(error, f"{self._operation}.renew") from error
        except DRIVER_ERRORS as error:
            raise ours(error, f"{self._operation}.renew") from error
        return await self._read(names)

    async def release(self, names: Names[str] | None = None) -> None:
        """Let leases of this process expire now, so that another box can take them at once; None: all."""
        query: dict[str, Any] = {"owner": self._owner, "holder": self._holder}
        if names is not None:
            query["name"] = {"$in": list(names)}
        try:
            await self._collection.update_many(query, [{"$set": {"expires": "$$NOW"}}])
        except DRIVER_ERRORS as error:
            raise ours(error, f"{self._operation}.release") from error

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[str]:
        """Hold a lease for the block. Yields "", or the name of the box that holds it already.

        Raises:
            StoreError: MongoDB does not answer when the lease is taken.
        """
        lease = (await self.renew([name]))[name]
        if not lease.is_ours:
            yield lease.box
            return
        renewing = asyncio.create_task(self._keep(name), name=f"lease {name}")
        try:
            yield ""
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self.release([name])

    async def held_by_another(self, name: str, at: datetime) -> str:
        """The box that held the lease at that time, where it was another one; else ""."""
        try:
            document = await self._collection.find_one({"_id": self._key(name)}, {"terms": 1, "expires": 1})
        except DRIVER_ERRORS as error:
            raise ours(error, f"{self._operation}.find") from error
        terms = [term for term in (document or {}).get("terms", []) if isinstance(term, Mapping)]
        end = None if document is None else document.get("expires")
        for term in reversed(terms):
            since, box = term.get("since"), term.get("box")
            if isinstance(since, datetime) and isinstance(end, datetime) and since <= at < end:
                return "" if box == self._box else str(box)
            end = term.get("previous_end")
        return ""

    async def _keep(self, name: str) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew([name])
            except StoreError:  # the next renewal comes before the lease expires
                continue

    async def _read(self, names: Names[str]) -> dict[str, TermLease]:
        try:
            found = await self._collection.find(
                {"_id": {"$in": [self._key(name) for name in names]}}
            ).to_list(None)
        except DRIVER_ERRORS as error:
            raise ours(error, f"{self._operation}.find") from error
        return {one["name"]: self._lease(one) for one in found}

    def _lease(self, document: Mapping[str, Any]) -> TermLease:
        return TermLease(
            document["name"],
            document["box"],
            document["holder"] == self._holder,
            document["term"],
            document["since"].astimezone(UTC),
            document["expires"].astimezone(UTC),
        )

    def _key(self, name: str) -> str:
        return f"{self._owner}/{name}"

    def _take_or_extend(self, name: str) -> list[dict[str, Any]]:
        """One atomic update. `held`: this process has the lease; `taking`: it is free, expired or malformed.

        Its holder renews an expired lease as well, as long as no other process has taken it.
        """
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        valid = {
            "$and": [
                {"$isArray": "$terms"},
                {"$isNumber": "$term"},
                {"$eq": [{"$type": "$expires"}, "date"]},
                {"$lte": ["$expires", until]},
                {"$eq": [{"$type": "$since"}, "date"]},
                {"$lte": ["$since", "$$NOW"]},
                {"$eq": [{"$type": "$box"}, "string"]},
                {"$ne": [{"$type": "$holder"}, "missing"]},
            ]
        }
        held = {"$and": [valid, {"$eq": ["$holder", self._holder]}]}
        free = {"$or": [{"$not": [valid]}, {"$lte": ["$expires", "$$NOW"]}]}
        begins = {"box": {"$literal": self._box}, "since": "$$NOW", "previous_end": "$expires"}
        earlier = {"$cond": ["$valid", "$terms", []]}

        def when_taking(value: object, field: str) -> dict[str, Any]:
            return {"$cond": ["$taking", value, f"${field}"]}

        return [
            {"$set": {"valid": valid, "held": held, "taking": {"$and": [{"$not": [held]}, free]}}},
            {
                "$set": {
                    "owner": self._owner,
                    "name": {"$literal": name},
                    "holder": when_taking(self._holder, "holder"),
                    "box": when_taking({"$literal": self._box}, "box"),
                    "since": when_taking("$$NOW", "since"),
                    "terms": when_taking(
                        {"$slice": [{"$concatArrays": [earlier, [begins]]}, -TERMS_KEPT]}, "terms"
                    ),
                    "term": when_taking({"$cond": ["$valid", {"$add": ["$term", 1]}, 1]}, "term"),
                    "expires": {"$cond": [{"$or": ["$held", "$taking"]}, until, "$expires"]},
                }
            },
            {"$unset": ["valid", "held", "taking"]},
        ]
