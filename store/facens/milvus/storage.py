"""The facen storage on a Milvus server or cluster (https://milvus.io), for more than one machine.

Each owner has a collection, each gallery a partition of it: a search touches only its own. What is
compared, and how often it is kept, is said in the settings. Milvus lets several entries have one id, so
an addition looks first; who adds the same face to the same gallery from two processes at once may
add it twice, which a search shows as one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, cosine
from pipeline.types import Facen
from store.errors import BadValueError, FacenExistsError, FacenStorageError, PackError, StoreUnavailableError
from store.facens.milvus.calls import LONGEST_ANSWER, MilvusCalls, MissingError
from store.facens.milvus.names import collection_of, gallery_of, owner_of, partition_of
from store.facens.storage import (
    SAME,
    Compared,
    FacenHit,
    FacenSearch,
    GalleryKey,
    ShardHealth,
    checked_facen,
    id_array,
    listed,
    unwrapped,
)
from store.settings import FacensSettings

SLACK = 2e-6
"""Rounding: a facen compared with itself has to reach a threshold of 1."""
AT_ONCE = 1000
"""Entries of one insertion."""
ALLOWED_AT_ONCE = 8000
"""Ids in one question."""
MORE = 8
"""Additional hits requested, to detect ties with the last one."""
PAGE = 10_000
"""Ids that are listed at once."""

_Result = TypeVar("_Result")


class MilvusFacens:
    """FacenStorage on a server. Made by `connected`."""

    def __init__(self, calls: MilvusCalls, size: int | None, pack: str | None) -> None:
        self.size = size
        self.pack = pack
        self._calls = calls
        self._known: dict[ObjectId, set[str]] = {}
        """Collections that were looked at, and their partitions."""

    @classmethod
    async def connected(
        cls, settings: FacensSettings, size: int | None = None, pack: str | None = None
    ) -> "MilvusFacens":
        """The storage behind `facens.url`.

        Raises:
            StoreUnavailableError: the server does not answer.
            PackError: it holds facens of another model pack.
        """
        storage = cls(await MilvusCalls.connected(settings), size, pack)
        try:
            for owner in {owner for owner, _ in await storage._places(None)}:
                await storage._look_at(owner)
        except FacenStorageError as error:
            await storage.close()
            raise StoreUnavailableError(f"{error}; check facens.url and that it runs") from error
        except BaseException:
            await storage.close()
            raise
        return storage

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        if not await self.add_many(owner, gallery, [(face_id, facen)]):
            raise FacenExistsError(
                f"the face {face_id} is in the gallery {gallery} already", self._calls.address
            )

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        added = 0
        waiting = {face_id: self._checked(facen) for face_id, facen in entries}
        collection, partition = collection_of(owner), partition_of(gallery)
        for part in _parts(list(waiting.items()), AT_ONCE):

            async def insert(part: Sequence[tuple[int, Facen]] = part) -> int:
                await self._make(owner, gallery, len(part[0][1]))
                there = set(await self._which(collection, partition, [face_id for face_id, _ in part]))
                new = [entry for entry in part if entry[0] not in there]
                if new:
                    await self._calls.insert(collection, partition, new)
                return len(new)

            added += await self._again(owner, insert)
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        collection, partition = collection_of(owner), partition_of(gallery)

        async def remove() -> bool:
            there = bool(await self._which(collection, partition, [face_id]))
            if there:
                await self._calls.delete(collection, partition, [face_id])
            return there

        return await self._there(owner, gallery, remove, missing=False)

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        async def drop() -> None:
            await self._calls.drop_partition(collection_of(owner), partition_of(gallery))

        await self._there(owner, gallery, drop, missing=None)
        known = self._known.get(owner, set())
        known.discard(gallery)
        if not known:
            await self.erase(owner)  # with what is noted there about the pack

    async def search(
        self,
        owner: ObjectId,
        gallery: str,
        facen: Facen,
        limit: int,
        threshold: float,
        allowed: Iterable[int] | None = None,
        ignore_errors: bool = False,
    ) -> FacenSearch:
        try:
            (hits,) = await self._search(owner, gallery, [facen], limit, threshold, allowed)
        except FacenStorageError:
            if not ignore_errors:
                raise
            return FacenSearch([], 0, 1)
        return FacenSearch(hits, 1, 1)

    async def search_many(
        self, owner: ObjectId, gallery: str, facens: Sequence[Facen], limit: int, threshold: float
    ) -> list[FacenSearch]:
        found = await self._search(owner, gallery, facens, limit, threshold, None)
        return [FacenSearch(hits, 1, 1) for hits in found]

    async def _search(
        self,
        owner: ObjectId,
        gallery: str,
        facens: Sequence[Facen],
        limit: int,
        threshold: float,
        allowed: Iterable[int] | None,
    ) -> list[list[FacenHit]]:
        queries = [self._checked(facen) for facen in facens]
        if limit > LONGEST_ANSWER:
            raise BadValueError(f"Milvus finds at most {LONGEST_ANSWER} faces at once, not {limit}")
        no_hits: list[list[FacenHit]] = [[] for _ in queries]
        if not queries:
            return no_hits
        chosen = None
        if allowed is not None:
            chosen = await asyncio.to_thread(lambda: np.unique(id_array(allowed)))

        async def search() -> list[list[FacenHit]]:
            filters = [""] if chosen is None else _filters(chosen)
            answers = [await self._nearest(owner, gallery, queries, limit, which) for which in filters]
            together = [[hit for hits in one for hit in hits] for one in zip(*answers, strict=True)]
            return [_best(hits, limit, threshold) for hits in together] or no_hits

        return await self._there(owner, gallery, search, missing=no_hits)

    async def _nearest(
        self, owner: ObjectId, gallery: str, queries: Sequence[Facen], limit: int, which: str
    ) -> list[list[tuple[int, float]]]:
        """At least the best `limit`, and all that are as good as the last one of these."""
        wanted = min(limit + MORE, LONGEST_ANSWER)
        while True:
            answer = await self._calls.search(
                collection_of(owner), partition_of(gallery), queries, wanted, which
            )
            cut = [hits for hits in answer if len(hits) == wanted and hits[limit - 1][1] == hits[-1][1]]
            if not cut or wanted == LONGEST_ANSWER:
                return answer
            wanted = min(4 * wanted, LONGEST_ANSWER)

    async def compare(self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]) -> Compared:
        wanted = dict(entries)
        collection, partition = collection_of(owner), partition_of(gallery)

        async def compare() -> Compared:
            same, other = 0, list[int]()
            for part in _parts(list(wanted), AT_ONCE):
                held = await self._calls.facens(collection, partition, part)
                found = await asyncio.to_thread(_compared, held, wanted)
                same, other = same + found.same, other + found.other
            return Compared(same, sorted(other))

        return await self._there(owner, gallery, compare, missing=Compared(0, []))

    async def count(self, owner: ObjectId, gallery: str) -> int:
        async def count() -> int:
            return await self._calls.count(collection_of(owner), partition_of(gallery))

        return await self._there(owner, gallery, count, missing=0)

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        collection, partition = collection_of(owner), partition_of(gallery)

        async def ids() -> list[int]:
            found: list[int] = []
            while True:
                after = f"id > {found[-1] if found else -1}"
                page = await self._calls.ids(collection, partition, after, PAGE)
                found += page
                if len(page) < PAGE:
                    return await asyncio.to_thread(_ordered, found)

        return await self._there(owner, gallery, ids, missing=[])

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        return [key for key in await self._places(owner) if await self.count(*key)]

    async def health(self) -> list[ShardHealth]:
        name = f"milvus {self._calls.address}"
        try:
            counts = [await self.count(*key) for key in await self._places(None)]
        except FacenStorageError:
            return [ShardHealth(name, live=False, facens=0)]
        return [ShardHealth(name, live=True, facens=sum(counts))]

    async def close(self) -> None:
        await self._calls.close()

    async def erase(self, owner: ObjectId) -> None:
        """Removes everything of one owner."""
        self._known.pop(owner, None)
        try:
            await self._calls.drop_collection(collection_of(owner))
        except MissingError:
            return

    def _checked(self, facen: Facen) -> Facen:
        checked_facen(facen, self.size)
        self.size = self.size or len(facen)
        return facen

    async def _places(self, owner: ObjectId | None) -> list[GalleryKey]:
        """Every gallery that has a partition."""
        owners = [owner_of(name) for name in await self._calls.collections()]
        places = []
        for one in owners:
            if one is None or owner not in (None, one):
                continue
            try:
                names = await self._calls.partitions(collection_of(one))
            except MissingError:  # dropped at this moment
                continue
            places += [(one, gallery) for name in names if (gallery := gallery_of(name)) is not None]
        return sorted(places)

    async def _which(self, collection: str, partition: str, ids: Sequence[int]) -> list[int]:
        return await self._calls.ids(collection, partition, f"id in {list(ids)}", len(ids))

    async def _make(self, owner: ObjectId, gallery: str, size: int) -> None:
        """Makes collection and partition where they are missing."""
        if gallery in self._known.get(owner, ()):
            return
        collection = collection_of(owner)
        if collection not in await self._calls.collections():
            await self._calls.create_collection(collection, size, {"pack": self.pack})
        await self._look_at(owner)
        if gallery not in self._known[owner]:
            await self._calls.create_partition(collection, partition_of(gallery))
            self._known[owner].add(gallery)

    async def _look_at(self, owner: ObjectId) -> None:
        """PackError where the owner's facens are of another pack."""
        collection = collection_of(owner)
        size, notes = await self._calls.described(collection)
        held = notes.get("pack")
        if None not in (held, self.pack) and held != self.pack:
            raise PackError(
                f"the facens in Milvus at {self._calls.address} are of the model pack {held}, "
                f"not of {self.pack}: `facend facens rebuild` makes them anew from MongoDB"
            )
        if self.size not in (None, size):
            raise PackError(
                f"the facens in Milvus at {self._calls.address} have {size} numbers, not {self.size}: "
                "`facend facens rebuild` makes them anew from MongoDB"
            )
        await self._calls.load(collection)
        names = await self._calls.partitions(collection)
        self._known[owner] = {gallery for name in names if (gallery := gallery_of(name)) is not None}

    async def _there(
        self, owner: ObjectId, gallery: str, work: Callable[[], Awaitable[_Result]], *, missing: _Result
    ) -> _Result:
        """The work on a gallery, or `missing` where there is no such gallery."""
        try:
            if gallery not in self._known.get(owner, ()):
                await self._look_at(owner)  # another process may have made it meanwhile
                if gallery not in self._known[owner]:
                    return missing
            return await work()
        except MissingError:
            self._known.pop(owner, None)
            return missing

    async def _again(self, owner: ObjectId, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """The work, once more where another process removed the gallery while we thought it was there."""
        try:
            return await work()
        except MissingError:
            self._known.pop(owner, None)
        try:
            return await work()
        except MissingError as error:
            raise FacenStorageError(
                f"Milvus at {self._calls.address}: the gallery goes away again and again ({error})",
                self._calls.address,
            ) from error


def _parts(entries: Sequence[_Result], size: int) -> Iterable[Sequence[_Result]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _compared(held: Iterable[tuple[int, Sequence[float]]], wanted: Mapping[int, Facen]) -> Compared:
    """An id with several entries is right where each of them is."""
    right: dict[int, bool] = {}
    for face_id, numbers in held:
        facen = np.asarray(numbers, dtype=np.float32)
        same = len(facen) == len(wanted[face_id]) and bool(np.abs(facen - wanted[face_id]).max() <= SAME)
        right[face_id] = right.get(face_id, True) and same
    return Compared(sum(right.values()), [face_id for face_id, same in right.items() if not same])


def _ordered(ids: list[int]) -> list[int]:
    return listed(unwrapped(ids))


def _filters(allowed: NDArray[np.int64]) -> Iterable[str]:
    """One after the other: writing down a million numbers takes long."""
    for start in range(0, len(allowed), ALLOWED_AT_ONCE):
        yield f"id in {allowed[start : start + ALLOWED_AT_ONCE].tolist()}"


def _best(hits: Sequence[tuple[int, float]], limit: int, threshold: float) -> list[FacenHit]:
    least = cosine(threshold) - SLACK
    near = sorted({hit for hit in hits if hit[1] >= least}, key=lambda hit: (-hit[1], hit[0]))
    return [FacenHit(face_id, float(np.clip(confidence(alike), 0.0, 1.0))) for face_id, alike in near[:limit]]
