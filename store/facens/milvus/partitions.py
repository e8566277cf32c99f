"""The collections and partitions of a Milvus server: a collection for each owner, a partition for each
gallery.

Milvus accepts only letters, digits and `_` in names (https://milvus.io/docs/limitations.md). Names of
galleries may also contain `-`, so they are escaped.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bson import ObjectId

from store.errors import FacenStorageError, PackError
from store.facens.milvus.calls import MilvusCalls, MissingError
from store.facens.storage import FacenSize, GalleryKey

COLLECTION = re.compile(r"facend_([0-9a-f]{24})")
PARTITION = "g_"
ESCAPES = {"_": "__", "-": "_m"}
_ESCAPED = re.compile(r"_[_m]")

_Result = TypeVar("_Result")


def collection_of(owner: ObjectId) -> str:
    return f"facend_{owner}"


def _owner_of(collection: str) -> ObjectId | None:
    """None for a foreign collection."""
    found = COLLECTION.fullmatch(collection)
    return ObjectId(found[1]) if found else None


def partition_of(gallery: str) -> str:
    return PARTITION + "".join(ESCAPES.get(sign, sign) for sign in gallery)


def gallery_of(partition: str) -> str | None:
    """None for a foreign partition, such as Milvus' `_default`."""
    if not partition.startswith(PARTITION):
        return None
    signs = {escape: sign for sign, escape in ESCAPES.items()}
    return _ESCAPED.sub(lambda found: signs[found[0]], partition.removeprefix(PARTITION))


class MilvusPartitions:
    """Creates, loads and removes the collections and partitions of one server."""

    def __init__(self, calls: MilvusCalls, size: FacenSize, pack: str | None) -> None:
        self._calls = calls
        self._size = size
        self._pack = pack
        self._known: dict[ObjectId, set[str]] = {}
        """The known galleries of each owner whose collection is loaded."""

    async def galleries(self, owner: ObjectId | None) -> list[GalleryKey]:
        """All galleries that have a partition."""
        owners = [_owner_of(name) for name in await self._calls.collections()]
        found = []
        for known in owners:
            if known is None or owner not in (None, known):
                continue
            try:
                names = await self._calls.partitions(collection_of(known))
            except MissingError:  # dropped meanwhile
                continue
            found += [(known, gallery) for name in names if (gallery := gallery_of(name)) is not None]
        return sorted(found)

    async def ensure(self, owner: ObjectId, gallery: str, size: int) -> None:
        """Create the collection and partition if they are missing."""
        if gallery in self._known.get(owner, ()):
            return
        collection = collection_of(owner)
        if collection not in await self._calls.collections():
            await self._calls.create_collection(collection, size, {"pack": self._pack})
        await self.load(owner)
        if gallery not in self._known[owner]:
            await self._calls.create_partition(collection, partition_of(gallery))
            self._known[owner].add(gallery)

    async def load(self, owner: ObjectId) -> None:
        """Load the owner's collection. PackError if its facens are of another pack."""
        collection = collection_of(owner)
        size, description = await self._calls.describe(collection)
        pack = description.get("pack")
        if None not in (pack, self._pack) and pack != self._pack:
            raise PackError(
                f"the facens in Milvus at {self._calls.address} are of the model pack {pack}, "
                f"not of {self._pack}: `facend facens rebuild` recreates them from MongoDB"
            )
        if self._size.value not in (None, size):
            raise PackError(
                f"the facens in Milvus at {self._calls.address} have {size} numbers, not {self._size.value}: "
                "`facend facens rebuild` recreates them from MongoDB"
            )
        await self._calls.load(collection)
        names = await self._calls.partitions(collection)
        self._known[owner] = {gallery for name in names if (gallery := gallery_of(name)) is not None}

    async def if_present(
        self, owner: ObjectId, gallery: str, work: Callable[[], Awaitable[_Result]], *, missing: _Result
    ) -> _Result:
        """The result of `work`; `missing` if the gallery does not exist."""
        try:
            if gallery not in self._known.get(owner, ()):
                await self.load(owner)  # another process may have created it
                if gallery not in self._known[owner]:
                    return missing
            return await work()
        except MissingError:
            self._known.pop(owner, None)
            return missing

    async def retry_missing(self, owner: ObjectId, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """The result of `work`, which is repeated if another process removed the gallery meanwhile."""
        try:
            return await work()
        except MissingError:
            self._known.pop(owner, None)
        try:
            return await work()
        except MissingError as error:
            raise FacenStorageError(
                f"Milvus at {self._calls.address}: the gallery is removed repeatedly ({error})",
                self._calls.address,
            ) from error

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        """Remove a gallery; with the last one also the collection, whose description names the pack."""

        async def drop() -> None:
            await self._calls.drop_partition(collection_of(owner), partition_of(gallery))

        await self.if_present(owner, gallery, drop, missing=None)
        known = self._known.get(owner, set())
        known.discard(gallery)
        if not known:
            await self._drop_collection(owner)

    async def _drop_collection(self, owner: ObjectId) -> None:
        self._known.pop(owner, None)
        try:
            await self._calls.drop_collection(collection_of(owner))
        except MissingError:
            return
