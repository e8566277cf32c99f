"""Short leases: locks between the tasks of this process, and between all processes on a database.

For work that takes milliseconds: callers wait for the lease, and it is never renewed.
`store.mongo.term_leases` has leases that are renewed.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from store.errors import StoreUnavailableError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

HELD_SECONDS = 10.0
"""Lifetime of a lease, after which that of a dead holder is free again."""
MARGIN_SECONDS = 2.0
"""Work is cancelled this long before the lease expires, so that requests under way can still arrive."""
PATIENCE_SECONDS = 30.0
"""Maximum time to wait for a lease."""


class Leases:
    """Named locks, stored as documents. They expire by the server's clock, so that the clocks of the clients
    do not matter."""

    def __init__(self, database: Database) -> None:
        self._collection: Collection = database["leases"]
        self._holder = ObjectId()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def local(self, name: str) -> asyncio.Lock:
        """The lock of this name between the tasks of this process."""
        return self._locks.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Hold the lease against all other processes; acquire `local` first.

        Raises:
            StoreUnavailableError: others hold it for PATIENCE_SECONDS, the work takes too long, or MongoDB
                does not answer.
        """
        try:
            requested_at = await self._acquire(name)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "leases.acquire") from error
        try:
            async with asyncio.timeout_at(requested_at + HELD_SECONDS - MARGIN_SECONDS):
                yield
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"work under the lease {name} took longer than its time limit; try again"
            ) from error
        finally:
            try:
                await self._collection.delete_one({"_id": name, "holder": self._holder})
            except DRIVER_ERRORS as error:
                raise translate_error(error, "leases.release") from error

    async def _acquire(self, name: str) -> float:
        """Acquire the lease; returns the loop's time at which the successful request was sent."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        while True:
            requested_at = loop.time()
            try:
                lease = await self._collection.find_one_and_update(
                    {"_id": name}, self._take_if_free(), upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:  # two processes inserted the document at once
                continue
            if lease["holder"] == self._holder:
                return requested_at
            if loop.time() > end:
                raise StoreUnavailableError(
                    f"other processes hold the lease {name} for {PATIENCE_SECONDS:g} s; try again"
                )
            await asyncio.sleep(random.uniform(0.005, 0.03))  # noqa: S311  jitter, no secret

    def _take_if_free(self) -> list[dict[str, Any]]:
        """An atomic update that takes the lease if it is free, expired or malformed, and otherwise changes
        nothing."""
        until = {"$add": ["$$NOW", int(HELD_SECONDS * 1000)]}
        # A lease that expires much later than any holder sets, or never, is malformed. Not merely later: of
        # two concurrent updates, the one applied last may have the earlier $$NOW.
        latest = {"$add": ["$$NOW", int(2 * HELD_SECONDS * 1000)]}
        expired = {
            "$or": [
                {"$ne": [{"$type": "$holder"}, "objectId"]},
                {"$ne": [{"$type": "$expires"}, "date"]},
                {"$lte": ["$expires", "$$NOW"]},
                {"$gt": ["$expires", latest]},
            ]
        }
        ours_or_expired = {"$or": [{"$eq": ["$holder", self._holder]}, expired]}
        return [
            {"$set": {"free": ours_or_expired}},
            {
                "$set": {
                    "holder": {"$cond": ["$free", self._holder, "$holder"]},
                    "expires": {"$cond": ["$free", until, "$expires"]},
                }
            },
            {"$unset": "free"},
        ]
