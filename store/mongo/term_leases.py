"""Renewed leases with terms, which decide what box reads a camera or runs a job.

Boxes that share an owner and a database share their cameras. A box renews the leases of its cameras and jobs.
A lease that is not renewed expires by the server's clock; the box that takes it next begins a new term. A box
that cannot reach MongoDB continues to read its cameras. Once MongoDB is back, the terms decide about its
sightings: one that was captured while another box held the camera's lease is a duplicate.

`store.mongo.lease` has short leases, which callers wait for and which are never renewed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Collection as Names
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from pipeline.base.background import supervised
from store.errors import LeaseLostError, StoreError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import FIRST_TIME

LEASE_SECONDS = 20.0
"""A lease expires this long after its last renewal."""
RENEW_SECONDS = 4.0
"""Interval between renewals; a lease survives three missed renewals."""
TERMS_KEPT = 32
"""Terms remembered for each lease."""
SAME_CLOCK_SECONDS = 1.0
"""Clocks that differ by less are considered equal."""
CLOCK_READINGS = 64
"""Number of readings of this machine's clock that are kept."""
DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class TermLease:
    """A lease as of the last renewal. Times are UTC, by the server's clock."""

    name: str
    box: str
    """Name of the box that holds the lease."""
    is_ours: bool
    """Whether this process holds it."""
    is_this_box: bool
    """Whether this box holds it, perhaps by the process before a restart."""
    term: int
    """Number of the term, which each new holder increments."""
    since: datetime
    """Start of the term."""
    expires: datetime


class _Term(NamedTuple):
    """A term of a lease. Times are UTC, by the server's clock, except `box_clock`."""

    box: str
    box_id: str
    """"" if unknown, as in terms that an earlier version began."""
    since: datetime
    end: datetime
    box_clock: datetime | None
    """Time on the box's clock at `since`; None if an earlier version began the term."""

    def covers_by_own_clock(self, at: datetime) -> bool:
        return self.box_clock is not None and self.box_clock <= at < self.box_clock + (self.end - self.since)


def _terms(document: Mapping[str, Any]) -> list[_Term]:
    """The terms of a lease's document, the latest first; damaged ones are left out."""
    terms: list[_Term] = []
    stored, end = document.get("terms"), document.get("expires")
    for term in reversed(stored if isinstance(stored, list) else []):
        if not isinstance(term, Mapping):
            continue
        since, clock = term.get("since"), term.get("box_clock")
        if isinstance(since, datetime) and isinstance(end, datetime):
            own = clock if isinstance(clock, datetime) else None
            box_id = term.get("box_id")
            known = box_id if isinstance(box_id, str) else ""
            terms.append(_Term(str(term.get("box")), known, since, end, own))
        end = term.get("previous_end")
    return terms


def _term_at(terms: Sequence[_Term], at: datetime) -> _Term | None:
    return next((term for term in terms if term.since <= at < term.end), None)


def _fence() -> float:
    """The loop's time until which a lease renewed now may be used.

    A tenth of its lifetime is left for requests under way to arrive at the server.
    """
    return asyncio.get_running_loop().time() + 0.9 * LEASE_SECONDS


class TermLeases:
    """Leases on one owner's cameras or jobs, as seen by one process of one box."""

    def __init__(
        self,
        database: Database,
        kind: Literal["camera", "job"],
        owner: ObjectId,
        box: str,
        clock: Callable[[], float] = time.time,
        *,
        box_id: str = "",
    ) -> None:
        """`clock`: the clock of this box's capture times, in seconds since 1970. `box_id`: distinguishes
        boxes of the same name; "" if unknown."""
        self._operation = f"{kind}_leases"
        self._collection: Collection = database[self._operation]
        self._owner = owner
        self._box = box
        self._box_id = box_id
        self._holder = ObjectId()
        self._database = database
        self._clock = clock
        self._offsets: dict[int, float] = {}
        """Observed differences between wall clock and monotonic clock, by whole seconds."""

    async def renew(self, names: Names[str]) -> dict[str, TermLease]:
        """Take the leases that are free, extend those held by this process, and return all of them.

        Raises:
            StoreError: MongoDB does not answer.
        """
        self._read_clock()
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
                raise translate_error(error, f"{self._operation}.renew") from error
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._operation}.renew") from error
        return await self._read(names)

    async def release(self, names: Names[str] | None = None) -> None:
        """Let leases of this process expire now, so that another box can take them at once; None: all."""
        query: dict[str, Any] = {"owner": self._owner, "holder": self._holder}
        if names is not None:
            query["name"] = {"$in": list(names)}
        try:
            await self._collection.update_many(query, [{"$set": {"expires": "$$NOW"}}])
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._operation}.release") from error

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[str]:
        """Hold a lease for the block. Yields "", or the name of another box that holds it.

        The block is cancelled when another box takes the lease, and before the lease can expire without a
        renewal.

        Raises:
            LeaseLostError: the block was cancelled.
            StoreError: MongoDB does not answer when the lease is taken.
        """
        limit = asyncio.timeout_at(_fence())
        lease = (await self.renew([name])).get(name)
        if lease is None or not lease.is_ours:
            yield (lease and lease.box) or "another"
            return
        try:
            async with limit:
                renewing = supervised(self._keep(name, limit), f"lease {name}")
                try:
                    yield ""
                finally:
                    renewing.cancel()
                    await asyncio.wait((renewing,))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise LeaseLostError(
                f"the lease {name} was lost, and the work under it cancelled; it is tried again later"
            ) from error
        finally:
            with suppress(StoreError):  # it expires by itself
                await self.release([name])

    async def _keep(self, name: str, limit: asyncio.Timeout) -> None:
        """Renew the lease until cancelled. Each renewal extends `limit`; a lost lease ends it."""
        while not limit.expired():
            await asyncio.sleep(RENEW_SECONDS)
            fence = _fence()
            try:
                lease = (await self.renew([name])).get(name)
            except StoreError:
                continue
            if limit.expired():
                return
            if lease is None or not lease.is_ours:
                limit.reschedule(asyncio.get_running_loop().time())
                return
            limit.reschedule(fence)

    async def held_by_another(self, name: str, at: datetime) -> str:
        """The box that held the lease when this box's clock showed `at`; "" if it was this box, or in doubt.

        Terms are in the server's time, and the clock of a box may be wrong or have been set since. So `at` is
        converted in several ways: unchanged; by each known offset to the server's clock; and by the readings
        of this box's clock at the start of its terms. If any of them falls in a term of this box, or in none,
        the answer is "".
        """
        try:
            document = await self._collection.find_one({"_id": self._key(name)}, {"terms": 1, "expires": 1})
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._operation}.find") from error
        terms = _terms(document or {})
        holder = _term_at(terms, at)
        if holder is None or any(
            self._is_this_box(term.box, term.box_id) and (term is holder or term.covers_by_own_clock(at))
            for term in terms
        ):
            return ""
        readings = [_term_at(terms, moment) for moment in await self._server_times(at)]
        in_doubt = any(term is None or self._is_this_box(term.box, term.box_id) for term in readings)
        return "" if in_doubt else holder.box

    def _is_this_box(self, box: object, box_id: object) -> bool:
        """Whether name and id are those of this box; only the name counts if one of the ids is unknown."""
        return box == self._box and (not box_id or not self._box_id or box_id == self._box_id)

    def _read_clock(self) -> None:
        offset = self._clock() - time.monotonic()
        self._offsets.setdefault(round(offset), offset)
        while len(self._offsets) > CLOCK_READINGS:
            del self._offsets[next(iter(self._offsets))]

    async def _server_times(self, at: datetime) -> list[datetime]:
        """Possible times on the server's clock when this box's clock showed `at`."""
        self._read_clock()
        try:
            now = (await self._database.command("hello"))["localTime"].replace(tzinfo=UTC)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._operation}.clock") from error
        monotonic = time.monotonic()
        moments = []
        for offset in self._offsets.values():
            ahead = monotonic + offset - now.timestamp()
            if abs(ahead) >= SAME_CLOCK_SECONDS:
                with suppress(OverflowError):
                    moments.append(at - timedelta(seconds=ahead))
        return moments

    async def _read(self, names: Names[str]) -> dict[str, TermLease]:
        try:
            found = await self._collection.find(
                {"_id": {"$in": [self._key(name) for name in names]}}
            ).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._operation}.find") from error
        return {one["name"]: self._lease(one) for one in found}

    def _lease(self, document: Mapping[str, Any]) -> TermLease:
        return TermLease(
            document["name"],
            document["box"],
            document["holder"] == self._holder,
            self._is_this_box(document["box"], document.get("box_id")),
            document["term"],
            document["since"].astimezone(UTC),
            document["expires"].astimezone(UTC),
        )

    def _key(self, name: str) -> str:
        return f"{self._owner}/{name}"

    def _take_or_extend(self, name: str) -> list[dict[str, Any]]:
        """An atomic update. `held`: this process has the lease; `taking`: it is free, expired or malformed.

        A holder also renews an expired lease, as long as no other process has taken it. Of two concurrent
        updates, the one applied last may have the earlier `$$NOW`; so a lease counts as malformed only if its
        times are far ahead.
        """
        length = int(LEASE_SECONDS * 1000)
        until = {"$add": ["$$NOW", length]}
        valid = {
            "$and": [
                {"$isArray": "$terms"},
                {"$isNumber": "$term"},
                {"$eq": [{"$type": "$expires"}, "date"]},
                {"$lte": ["$expires", {"$add": ["$$NOW", 2 * length]}]},
                {"$eq": [{"$type": "$since"}, "date"]},
                {"$lte": ["$since", {"$add": ["$$NOW", length]}]},
                {"$gte": ["$since", FIRST_TIME]},
                {"$eq": [{"$type": "$box"}, "string"]},
                {"$ne": [{"$type": "$holder"}, "missing"]},
            ]
        }
        held = {"$and": [valid, {"$eq": ["$holder", self._holder]}]}
        free = {"$or": [{"$not": [valid]}, {"$lte": ["$expires", "$$NOW"]}]}
        begins = {
            "box": {"$literal": self._box},
            "box_id": {"$literal": self._box_id},
            "since": "$$NOW",
            "previous_end": "$expires",
            "box_clock": datetime.fromtimestamp(self._clock(), UTC),
        }
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
                    "box_id": when_taking({"$literal": self._box_id}, "box_id"),
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
