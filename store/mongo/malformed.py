"""Counts malformed documents, and logs each one once.

Readers do not see them (`store.mongo.gate`). They stay in MongoDB unchanged, for an operator to correct or
remove.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from pipeline.base.background import wait_at_most
from store.errors import StoreError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import SHAPES, fault, malformed

log = structlog.get_logger()

WRONG_SHAPE = "it does not have the shape of its collection"
MAX_LOGGED_AT_ONCE = 20
"""Maximum number of documents that a search logs."""
MAX_REMEMBERED = 10_000
"""Maximum number of documents that are remembered as logged."""
SMALL_COLLECTION = 20_000
"""Collections with up to this number of documents are searched every minute, larger ones every ten
minutes."""
INTERVAL_SECONDS = 60.0
LARGE_EVERY = 10
MIN_PAUSE_SECONDS = 2.0
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
    """The first malformed document that the query finds. StoreError if MongoDB does not answer."""
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
        """Number of malformed documents by collection."""
        self.indexes: list[str] = []
        """Indexes that MongoDB refuses to build, each with its reason."""

    def notice(self) -> None:
        """Search all collections soon, because a reader has met a malformed document."""
        self._noticed.set()

    async def watch(self) -> None:
        """Search regularly, until cancelled."""
        for turn in itertools.count():
            everything = turn % LARGE_EVERY == 0 or self._noticed.is_set()
            self._noticed.clear()
            pause = INTERVAL_SECONDS
            try:
                await self.search(everything=everything)
            except StoreError as error:  # an unreachable MongoDB is reported elsewhere
                log.debug("malformed documents cannot be searched for at present", reason=str(error))
                pause = RETRY_SECONDS
            await asyncio.sleep(MIN_PAUSE_SECONDS)
            await wait_at_most(self._noticed, pause)

    async def search(self, *, everything: bool = True) -> None:
        """Search once; without `everything` only small collections. StoreError if MongoDB does not answer."""
        fresh = 0
        for name in SHAPES:
            if not everything and await self._is_large(name):
                continue
            count = 0
            async for document in self.find(name):
                count += 1
                if self._is_new(document):
                    fresh += 1
                    if fresh <= MAX_LOGGED_AT_ONCE:
                        log.warning(
                            "a malformed document is ignored; see `facend doctor`",
                            collection=name,
                            id=str(document.id)[:80],
                            fault=document.fault,
                        )
            self.counts[name] = count
        if fresh > MAX_LOGGED_AT_ONCE:
            log.warning("more malformed documents are ignored", number=fresh - MAX_LOGGED_AT_ONCE)

    async def find(self, collection: str) -> AsyncIterator[Malformed]:
        """The malformed documents of a collection. StoreError if MongoDB does not answer."""
        try:
            async for document in self._database[collection].ungated.find(malformed(collection)):
                reason = fault(collection, document) or WRONG_SHAPE
                yield Malformed(collection, document["_id"], reason)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{collection}.find_malformed") from error

    async def _is_large(self, collection: str) -> bool:
        try:
            return int(await self._database[collection].estimated_document_count()) > SMALL_COLLECTION
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{collection}.count") from error

    def _is_new(self, document: Malformed) -> bool:
        key = (document.collection, repr(document.id)[:200])
        if key in self._logged or len(self._logged) >= MAX_REMEMBERED:
            return False
        self._logged.add(key)
        return True
