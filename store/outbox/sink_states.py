"""Which sinks of a box are switched off because their receiver has unsubscribed."""

from datetime import UTC, datetime

from bson import ObjectId

from store.mongo.client import Database
from store.mongo.named_documents import NamedDocuments

COLLECTION = "sink_states"


class SinkStates:
    """The sinks of one user on one box. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, database: Database, owner: ObjectId, box: str) -> None:
        self._documents = NamedDocuments(database, COLLECTION, owner)
        self._prefix = f"{box}/"

    async def switched_off(self) -> dict[str, str]:
        """The reasons, by the names of the sinks."""
        found = await self._documents.all()
        return {
            name.removeprefix(self._prefix): str(content.get("reason", ""))
            for name, content in found.items()
            if name.startswith(self._prefix)
        }

    async def switch_off(self, sink: str, reason: str) -> None:
        await self._documents.put(self._prefix + sink, {"reason": reason, "at": datetime.now(UTC)})

    async def switch_on(self, sink: str) -> bool:
        """Whether it was switched off."""
        return await self._documents.remove(self._prefix + sink)
