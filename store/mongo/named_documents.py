"""Small documents of one owner that are known by a name: watch lists, watch rules, webhooks."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from store.errors import ConflictError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error


class NamedDocuments:
    """Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, database: Database, collection: str, owner: ObjectId) -> None:
        self._collection: Collection = database[collection]
        self._name = collection
        self._owner = owner

    async def all(self) -> dict[str, dict[str, Any]]:
        """The contents by name, in the order of the names."""
        try:
            found = await self._collection.find({"owner": self._owner}).sort("name", 1).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._name}.find") from error
        return {one["name"]: one["content"] for one in found}

    async def get(self, name: str) -> dict[str, Any] | None:
        try:
            found = await self._collection.find_one({"owner": self._owner, "name": name})
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._name}.find_one") from error
        return None if found is None else dict(found["content"])

    async def add(self, name: str, content: Mapping[str, Any]) -> None:
        """
        Raises:
            ConflictError: the name is taken.
        """
        document = {"owner": self._owner, "name": name, "content": dict(content)}
        try:
            await self._collection.insert_one(document)
        except DRIVER_ERRORS as error:
            translated = translate_error(error, f"{self._name}.insert")
            if isinstance(translated, ConflictError):
                raise ConflictError(f"{name} exists already", translated.fields) from error
            raise translated from error

    async def put(self, name: str, content: Mapping[str, Any]) -> None:
        """Add, or replace what is there."""
        update = {"$set": {"content": dict(content)}}
        try:
            await self._collection.update_one({"owner": self._owner, "name": name}, update, upsert=True)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._name}.update") from error

    async def remove(self, name: str) -> bool:
        """Whether it was there."""
        try:
            result = await self._collection.delete_one({"owner": self._owner, "name": name})
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{self._name}.delete") from error
        return bool(result.deleted_count)
