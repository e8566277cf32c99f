"""A face's membership in galleries, kept in the facen storage and in MongoDB."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from pipeline.types import Facen
from store.errors import FacenStorageError, NotFoundError, StoreError
from store.face import Face
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import FaceLocks
from store.mongo.client import Collection


class GalleryMembership:
    """Changes the facen storage first, then MongoDB, under the face's lock."""

    def __init__(
        self,
        faces: Collection,
        facens: FacenStorage,
        operation: Callable[[str], AbstractAsyncContextManager[None]],
    ) -> None:
        """`operation`: measures a call to MongoDB, see `MongoStore._operation`."""
        self.locks = FaceLocks()
        self._faces = faces
        self._facens = facens
        self._operation = operation

    async def add(self, owner: ObjectId, face: Face, names: list[str], facen: Facen) -> None:
        """Add the face to all galleries that can be added, then raise the first error."""
        async with self.locks.get(face["_id"]):
            await self._add(owner, face, names, facen)

    async def remove(self, owner: ObjectId, face: Face, names: list[str]) -> None:
        """Remove the face from all galleries that can be removed, then raise the first error."""
        async with self.locks.get(face["_id"]):
            await self._remove(owner, face, names)

    async def _add(self, owner: ObjectId, face: Face, names: list[str], facen: Facen) -> None:
        done, failures = [], []
        for name in names:
            try:
                await self._facens.add(owner, name, face["_id"], facen)
                done.append(name)
            except FacenStorageError as error:
                failures.append(error)
        if done:
            try:
                await self._update_document(owner, face, {"$addToSet": {"gallery": {"$each": done}}})
            except StoreError:
                # Keep the facen storage consistent with the document.
                for name in done:
                    await self._facens.remove(owner, name, face["_id"])
                raise
        if failures:
            raise failures[0]

    async def _remove(self, owner: ObjectId, face: Face, names: list[str]) -> None:
        done, failures = [], []
        for name in names:
            try:
                await self._facens.remove(owner, name, face["_id"])
                done.append(name)
            except FacenStorageError as error:
                failures.append(error)
        if done:
            await self._update_document(owner, face, {"$pullAll": {"gallery": done}})
        if failures:
            raise failures[0]

    async def _update_document(self, owner: ObjectId, face: Face, change: dict[str, Any]) -> None:
        async with self._operation("galleries"):
            document = await self._faces.find_one_and_update(
                {"_id": face["_id"], "owner": owner},
                change,
                projection={"gallery": 1},
                return_document=ReturnDocument.AFTER,
            )
        if document is None:
            raise NotFoundError(f"there is no stored face {face['_id']}; store it with Faces.add first")
        face["gallery"] = document.get("gallery") or []
