"""The ids of persons: small whole numbers, counted up by the counter `persons`."""

import structlog

from store.errors import BadValueError, CounterMissingError, StoreStateError
from store.mongo.client import Collection, Database
from store.mongo.counters import Counters
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

log = structlog.get_logger()

COUNTER = "persons"
"""The counter's name; `Context.open` creates it."""
HIGHEST_COUNTED = 2**53
"""Upper bound of ids from the counter. Higher ids were assigned manually; a higher counter is damaged."""
BATCH = 10_000
"""Maximum number of taken ids that are skipped in one query."""
ID_FIELDS = (
    ("persons", "_id"),
    ("faces", "person_id"),
    ("person_changes", "person"),
    ("person_changes", "other"),
    ("erased", "_id"),
)
"""Where ids of present and former persons are stored."""


class PersonIds:
    """Gives each new person an id that no person had before."""

    def __init__(self, database: Database, counters: Counters) -> None:
        self._database = database
        self._counters = counters

    async def next(self) -> int:
        """The next id. A counter that is missing or damaged is restarted above the highest id in use.

        Raises:
            StoreStateError: no ids are left above the highest one.
        """
        try:
            person_id = await self._counters.next(COUNTER)
            if 0 <= person_id <= HIGHEST_COUNTED:
                return person_id
            reason = f"it stands at {person_id}"
        except (CounterMissingError, BadValueError) as error:
            reason = str(error)
        highest = await self._highest()
        if highest > HIGHEST_COUNTED - BATCH:
            raise StoreStateError(
                f"a person has the id {highest}, above which the counter {COUNTER} cannot be restarted; "
                f"give it an id below {HIGHEST_COUNTED - BATCH}, see `facend doctor`"
            )
        await self._counters.restart(COUNTER, highest, HIGHEST_COUNTED)
        log.warning("the counter of person ids was damaged and is restarted", value=highest, reason=reason)
        return await self._counters.next(COUNTER)

    async def skip(self, taken: int) -> None:
        """Move the counter past a taken id and the taken ids that follow it, for example after an import."""
        last = taken
        persons: Collection = self._database["persons"].ungated
        try:
            ids = persons.find(
                {"_id": {"$gt": taken, "$type": ["int", "long"]}}, {"_id": 1}, sort=[("_id", 1)], limit=BATCH
            )
            async for person in ids:
                if person["_id"] != last + 1:
                    break
                last += 1
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.skip_ids") from error
        await self._counters.raise_to(COUNTER, last)

    async def _highest(self) -> int:
        """The highest id in use below HIGHEST_COUNTED, also in malformed documents; 0 if there is none."""
        highest = 0
        try:
            for name, field in ID_FIELDS:
                query = {field: {"$type": ["int", "long"], "$gt": highest, "$lt": HIGHEST_COUNTED}}
                group = {"_id": None, "highest": {"$max": f"${field}"}}
                steps = [{"$match": query}, {"$group": group}]
                async for found in self._database[name].ungated.aggregate(steps):
                    highest = int(found["highest"])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.highest_id") from error
        return highest
