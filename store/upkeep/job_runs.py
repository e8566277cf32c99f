"""Start times of nightly jobs, so that a box can catch up on missed runs."""

from datetime import UTC, datetime

from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error


class JobRuns:
    """The jobs of one box. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, database: Database, box: str) -> None:
        """`box`: an id of its own. Boxes may have the same name, as copies of one image have."""
        self._collection: Collection = database["job_runs"]
        self._box = box

    async def last(self, job: str) -> datetime | None:
        """The time of the latest `record`, or None."""
        try:
            found = await self._collection.find_one({"_id": self._key(job)})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "job_runs.find") from error
        return None if found is None else found["at"].astimezone(UTC)

    async def record(self, job: str, at: datetime) -> None:
        try:
            await self._collection.update_one({"_id": self._key(job)}, {"$set": {"at": at}}, upsert=True)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "job_runs.write") from error

    def _key(self, job: str) -> str:
        return f"{self._box} {job}"
