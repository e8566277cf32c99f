"""Malformed documents: counted, and each logged once.

Readers do not see them (`store.mongo.gate`). They stay in MongoDB unchanged, for an operator to correct or
remove.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from store.errors import StoreError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import SHAPES, fault, malformed

log = structlog.get_logger()

WRONG_SHAPE = "it does not have the shape of its collection"
LOGGED_AT_ONCE = 20
"""Maximum number of documents that one search logs."""
REMEMBERED = 10_000
"""Maximum number of documents that are remembered as logged."""
FEW = 20_000
"""Collections with up to this number of documents are searched every minute, larger ones every ten."""
MINUTE_SECONDS = 60.0
LARGE_EVERY = 10
SHORTEST_PAUSE_SECONDS = 2.0
RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Malformed:
    """One malformed document."""

    collection: str
    id: object
    fault: str

    def __str__(self) -> str:
        return f"{self.collection} {self.id!r:.80}: {self.fault}"


async def malformed_document(
    database: Database, collection: str, query: Mapping[str, Any]
) -> Malformed | None:
    """The first malformed document that the query finds. StoreError where MongoDB does not answer."""
    try:
        document = await database[collection].ungated.find_one({"$and": [query, malformed(collection)]})
    except DRIVER_ERRORS as error:
        raise translate_error(error, f"{collection}.find_malformed") from error
    if document is None:
        return None
    return Malformed(collection, document["_id"], fault(collection, document) or WRONG_SHAPE)


class MalformedDocuments:
    """Counts and logs the malformed documents of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._logged: set[tuple[str, str]] = set()
        self._noticed = asyncio.Event()
        self.counts: dict[str, float] = dict.fromkeys(SHAPES, 0)
        """By collection."""
        self.indexes: list[str] = []
        """Indexes that MongoDB refuses to build, each with its reason."""

    def notice(self) -> None:
        """Search all collections soon, because a reader has met a malformed document."""
        self._noticed.set()

    async def watch(self) -> None:
        """Search regularly, until cancelled."""
        for turn in range(2**63):
            everything = turn % LARGE_EVERY == 0 or self._noticed.is_set()
            self._noticed.clear()
            pause = MINUTE_SECONDS
            try:
                await self.search(everything=everything)
            except StoreError as error:  # MongoDB's absence is reported elsewhere
                log.debug("malformed documents cannot be searched for at present", reason=str(error))
                pause = RETRY_SECONDS
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)
            try:
                await asyncio.wait_for(self._noticed.wait(), pause)
            except TimeoutError:
                continue

    async def search(self, *, everything: bool = True) -> None:
        """Search once; without `everything` only small collections. Raises StoreError if MongoDB is away."""
        fresh = 0
        for name in SHAPES:
            if not everything and await self._is_large(name):
                continue
            count = 0
            async for one in self.found(name):
                count += 1
                if self._is_new(one):
                    fresh += 1
                    if fresh <= LOGGED_AT_ONCE:
                        log.warning(
                            "a malformed document is ignored; see `facend doctor`",
                            collection=name,
                            id=str(one.id)[:80],
                            fault=one.fault,
                        )
            self.counts[name] = count
        if fresh > LOGGED_AT_ONCE:
            log.warning("more malformed documents are ignored", number=fresh - LOGGED_AT_ONCE)

    async def found(self, collection: str) -> AsyncIterator[Malformed]:
        """The malformed documents of a collection. StoreError where MongoDB does not answer."""
        try:
            async for document in self._database[collection].ungated.find(malformed(collection)):
                why = fault(collection, document) or WRONG_SHAPE
                yield Malformed(collection, document["_id"], why)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{collection}.find_malformed") from error

    async def _is_large(self, collection: str) -> bool:
        try:
            return int(await self._database[collection].estimated_document_count()) > FEW
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{collection}.count") from error

    def _is_new(self, one: Malformed) -> bool:
        key = (one.collection, repr(one.id)[:200])
        if key in self._logged or len(self._logged) >= REMEMBERED:
            return False
        self._logged.add(key)
        return True
