"""Watch lists: named lists of persons. A person's document has the names of the lists, so that they go with
the person: an erasure leaves none, and a merge joins them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from store.errors import BadValueError, NotFoundError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import checked_id
from store.mongo.named_documents import NamedDocuments

COLLECTION = "watch_lists"


@dataclass(frozen=True, slots=True)
class WatchList:
    """A list applies to a visit if all that is set here fits."""

    name: str
    note: str = ""
    colour: str = ""
    min_confidence: float = 0.0
    """A match below this does not count for the list. It changes nobody's identification."""
    cameras: tuple[str, ...] = ()
    """Empty: all."""
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def applies(self, cam_id: str, confidence: float | None, at: datetime) -> bool:
        return (
            (not self.cameras or cam_id in self.cameras)
            and (self.min_confidence <= (confidence if confidence is not None else 0.0))
            and (self.valid_from is None or self.valid_from <= at)
            and (self.valid_until is None or at < self.valid_until)
        )


class WatchLists:
    """The lists of one owner. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, database: Database, owner: ObjectId) -> None:
        self._lists = NamedDocuments(database, COLLECTION, owner)
        self._persons = database["persons"]
        self._owner = owner

    async def all(self) -> dict[str, WatchList]:
        return {name: _from_document(name, content) for name, content in (await self._lists.all()).items()}

    async def get(self, name: str) -> WatchList:
        """
        Raises:
            NotFoundError: there is no such list.
        """
        if (content := await self._lists.get(name)) is None:
            known = ", ".join(await self._lists.all()) or "none"
            raise NotFoundError(f"there is no list {name}; there are: {known}")
        return _from_document(name, content)

    async def create(self, watch_list: WatchList) -> None:
        """
        Raises:
            ConflictError: the name is taken.
        """
        await self._lists.add(watch_list.name, asdict(watch_list) | {"cameras": list(watch_list.cameras)})

    async def drop(self, name: str) -> None:
        """Remove the list, and take all persons off it. NotFoundError if there is no such list."""
        await self.get(name)
        try:
            await self._persons.update_many({"owner": self._owner, "lists": name}, {"$pull": {"lists": name}})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.update") from error
        await self._lists.remove(name)

    async def put_on(self, name: str, person_id: int) -> None:
        """NotFoundError if there is no such list or person."""
        await self._change(name, person_id, {"$addToSet": {"lists": name}})

    async def take_off(self, name: str, person_id: int) -> None:
        """NotFoundError if there is no such list or person."""
        await self._change(name, person_id, {"$pull": {"lists": name}})

    async def persons(self, name: str) -> list[int]:
        """The persons on the list, by id."""
        query = {"owner": self._owner, "lists": name}
        try:
            found = await self._persons.find(query, {"_id": 1}).sort("_id", 1).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.find") from error
        return [int(one["_id"]) for one in found]

    async def _change(self, name: str, person_id: int, update: Mapping[str, Any]) -> None:
        await self.get(name)
        this = {"_id": checked_id(person_id, "person"), "owner": self._owner}
        try:
            result = await self._persons.update_one(this, dict(update))
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.update") from error
        if not result.matched_count:
            raise NotFoundError(f"there is no person {person_id}")


def lists_of(person: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The names of a person's lists; malformed entries are left out."""
    found = None if person is None else person.get("lists")
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _from_document(name: str, content: Mapping[str, Any]) -> WatchList:
    fields = {key: content[key] for key in ("note", "colour", "min_confidence") if key in content}
    for key in ("valid_from", "valid_until"):
        at = content.get(key)
        fields[key] = at.replace(tzinfo=at.tzinfo or UTC) if isinstance(at, datetime) else None
    try:
        return WatchList(name=name, cameras=tuple(content.get("cameras") or ()), **fields)
    except TypeError as error:
        raise BadValueError(f"the list {name} is damaged: {error}") from error
