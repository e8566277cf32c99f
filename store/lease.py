"""One at a time, in this process and across all processes on the same database."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from store.client import Collection, Database
from store.driver_errors import DRIVER_ERRORS, ours
from store.errors import StoreUnavailableError

HELD_SECONDS = 10.0
"""A holder that dies is waited for so long; what is done under a lease takes milliseconds."""
PATIENCE_SECONDS = 30.0


class Leases:
    """Locks by name, as documents that expire. The clocks of the machines that share a database have to agree
    to within a few seconds."""

    def __init__(self, database: Database) -> None:
        self._collection: Collection = database["leases"]
        self._holder = ObjectId()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def local(self, name: str) -> asyncio.Lock:
        """The lock of this name among the tasks of this process."""
        return self._locks.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Holds the lease among all processes; take `local` first.

        Raises:
            StoreUnavailableError: others held it all the time, or MongoDB does not answer.
        """
        try:
            await self._acquire(name)
        except DRIVER_ERRORS as error:
            raise ours(error, "leases.acquire") from error
        try:
            async with asyncio.timeout(HELD_SECONDS / 2):
                yield
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"what needs the lease {name} took longer than it may be held"
            ) from error
        finally:
            try:
                await self._collection.delete_one({"_id": name, "holder": self._holder})
            except DRIVER_ERRORS as error:
                raise ours(error, "leases.release") from error

    async def _acquire(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        while True:
            now = datetime.now(UTC)
            try:
                await self._collection.find_one_and_update(
                    {"_id": name, "$or": [{"expires": {"$lt": now}}, {"holder": self._holder}]},
                    {"$set": {"holder": self._holder, "expires": now + timedelta(seconds=HELD_SECONDS)}},
                    upsert=True,
                )
            except DuplicateKeyError:
                if loop.time() > end:
                    raise StoreUnavailableError(
                        f"others hold the lease {name} for {PATIENCE_SECONDS:g} s"
                    ) from None
                await asyncio.sleep(random.uniform(0.005, 0.03))  # noqa: S311  jitter, no secret
            else:
                return
