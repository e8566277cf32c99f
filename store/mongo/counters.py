"""Counters: sequences of whole numbers without repetition."""

from contextlib import suppress
from typing import Any, TypeAlias

from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from store.errors import BadValueError, CounterMissingError
from store.mongo.documents import SCHEMA, Model
from store.mongo.guard import MAX_ID
from store.mongo.model_store import MongoStore
from store.mongo.shapes import well_formed


class Counter(Model):
    """A counter: `_id` is its name, `seq` its current value."""


class Counters(MongoStore[Counter]):
    """The collection of counters, `{_id: name, seq: whole number}`."""

    name = "counters"
    Model: TypeAlias = Counter
    _model = Counter

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        _check_name(given.get("_id"))
        return {**await super()._upsert_defaults(given), "seq": Int64(0)}

    async def ensure(self, counter: str, start: int = 0) -> None:
        """Create the counter with this value, unless it exists."""
        _check_name(counter)
        async with self._operation("ensure"):
            await self._collection.update_one(
                {"_id": counter}, {"$setOnInsert": {"seq": Int64(start), "schema": SCHEMA}}, upsert=True
            )

    async def raise_to(self, counter: str, value: int) -> None:
        """Set the counter to this value, unless it is already higher."""
        async with self._operation("raise_to"):
            await self._collection.update_one({"_id": counter}, {"$max": {"seq": Int64(value)}})

    async def restart(self, counter: str, value: int, most: int = MAX_ID) -> None:
        """Set the counter to this value if its own is not a whole number from 0 to `most`."""
        usable = {"seq": {"$type": ["int", "long"], "$gte": 0, "$lte": most}, **well_formed(self.name)}
        broken = {"_id": counter, "$nor": [usable]}
        async with self._operation("restart"):
            with suppress(DuplicateKeyError):  # another process has restarted it already
                await self._collection.update_one(
                    broken, {"$set": {"seq": Int64(value), "schema": SCHEMA}}, upsert=True
                )

    async def next(self, counter: str) -> int:
        """Increments the counter and returns its new value; two callers never get the same one.

        Raises:
            CounterMissingError: (a TypeError) there is no such counter.
            BadValueError: (a ValueError) its current value is not a whole number, or is the largest one.
        """
        if not isinstance(counter, str):
            raise CounterMissingError(f"a counter is given by its name, not {counter!r:.40}")
        usable = {"_id": counter, "seq": {"$type": ["int", "long"], "$lt": MAX_ID}}
        async with self._operation("next"):
            document = await self._collection.find_one_and_update(
                usable, {"$inc": {"seq": Int64(1)}}, return_document=ReturnDocument.AFTER
            )
        if document is not None:
            return int(document["seq"])
        async with self._operation("next"):
            found = await self._collection.ungated.find_one({"_id": counter})
        if found is None or "seq" not in found:
            raise CounterMissingError(
                f"the counter {counter!r:.80} has no current value; create it with Counters.ensure"
            )
        raise BadValueError(
            f"the counter {counter!r:.80} holds {found['seq']!r:.80}, which is not a whole number below "
            "the maximum; correct its seq in MongoDB"
        )


def _check_name(counter: object) -> None:
    if not isinstance(counter, str) or not counter:
        raise BadValueError(f"the name of a counter is non-empty text, not {counter!r:.40}")
