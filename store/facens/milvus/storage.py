"""The facen storage on a Milvus server or cluster (https://milvus.io), for more than one machine.

Each owner has a collection, and each gallery a partition of it, so a search reads only its gallery. Index and
replicas are settings. Milvus allows several entries with one id, so an addition checks first. Two processes
that add the same face to a gallery at the same time may add it twice; searches return it once.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, cosine
from pipeline.types import Facen
from store.errors import BadValueError, FacenExistsError, FacenStorageError, StoreUnavailableError
from store.facens.milvus.calls import MAX_RESULTS, MilvusCalls
from store.facens.milvus.partitions import MilvusPartitions, collection_of, partition_of
from store.facens.storage import (
    VALUE_TOLERANCE,
    Comparison,
    FacenHit,
    FacenSearch,
    FacenSize,
    GalleryKey,
    ShardHealth,
    drain,
    id_array,
    sorted_ids,
)
from store.settings import FacensSettings

COSINE_TOLERANCE = 2e-6
"""Rounding error; a facen compared with itself must reach a threshold of 1."""
INSERT_BATCH = 1000
"""Number of entries per insertion or comparison."""
MAX_FILTER_IDS = 8000
"""Maximum number of ids in a filter expression."""
EXTRA_HITS = 8
"""Additional hits requested, to detect ties with the last one."""
ID_PAGE = 10_000
"""Number of ids listed per query."""

_Result = TypeVar("_Result")


class MilvusFacens:
    """FacenStorage on a server; created by `connect`."""

    def __init__(self, calls: MilvusCalls, size: int | None, pack: str | None) -> None:
        self._size = FacenSize(size)
        self.pack = pack
        self._calls = calls
        self._partitions = MilvusPartitions(calls, self._size, pack)

    @classmethod
    async def connect(
        cls, settings: FacensSettings, size: int | None = None, pack: str | None = None
    ) -> "MilvusFacens":
        """The storage at `facens.url`.

        Raises:
            StoreUnavailableError: the server does not answer.
            PackError: the server has facens of another model pack.
        """
        storage = cls(await MilvusCalls.connect(settings), size, pack)
        try:
            for owner in {owner for owner, _ in await storage._partitions.galleries(None)}:
                await storage._partitions.load(owner)
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
                f"the face {face_id} is already in the gallery {gallery}", self._calls.address
            )

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        added = 0
        facens = {face_id: self._size.checked(facen) for face_id, facen in entries}
        collection, partition = collection_of(owner), partition_of(gallery)
        for part in _parts(list(facens.items()), INSERT_BATCH):

            async def insert(part: Sequence[tuple[int, Facen]] = part) -> int:
                await self._partitions.ensure(owner, gallery, len(part[0][1]))
                existing = set(await self._existing(collection, partition, [face_id for face_id, _ in part]))
                new = [entry for entry in part if entry[0] not in existing]
                if new:
                    await self._calls.insert(collection, partition, new)
                return len(new)

            added += await self._partitions.retry_missing(owner, insert)
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        collection, partition = collection_of(owner), partition_of(gallery)

        async def remove() -> bool:
            exists = bool(await self._existing(collection, partition, [face_id]))
            if exists:
                await self._calls.delete(collection, partition, [face_id])
            return exists

        return await self._partitions.if_present(owner, gallery, remove, missing=False)

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        await self._partitions.drop(owner, gallery)

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
        queries = [self._size.checked(facen) for facen in facens]
        if limit > MAX_RESULTS:
            raise BadValueError(f"Milvus returns at most {MAX_RESULTS} faces per search, not {limit}")
        no_hits: list[list[FacenHit]] = [[] for _ in queries]
        if not queries:
            return no_hits
        chosen = None
        if allowed is not None:
            chosen = await asyncio.to_thread(lambda: np.unique(id_array(allowed)))

        async def search() -> list[list[FacenHit]]:
            filters = [""] if chosen is None else _filters(chosen)
            answers = [
                await self._nearest(owner, gallery, queries, limit, expression) for expression in filters
            ]
            merged = [[hit for hits in parts for hit in hits] for parts in zip(*answers, strict=True)]
            return [_best(hits, limit, threshold) for hits in merged] or no_hits

        return await self._partitions.if_present(owner, gallery, search, missing=no_hits)

    async def _nearest(
        self, owner: ObjectId, gallery: str, queries: Sequence[Facen], limit: int, expression: str
    ) -> list[list[tuple[int, float]]]:
        """At least the best `limit` hits, including all ties with the last of these."""
        wanted = min(limit + EXTRA_HITS, MAX_RESULTS)
        while True:
            answer = await self._calls.search(
                collection_of(owner), partition_of(gallery), queries, wanted, expression
            )
            cut = [hits for hits in answer if len(hits) == wanted and hits[limit - 1][1] == hits[-1][1]]
            if not cut or wanted == MAX_RESULTS:
                return answer
            wanted = min(4 * wanted, MAX_RESULTS)

    async def compare(
        self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]
    ) -> Comparison:
        wanted = dict(entries)
        collection, partition = collection_of(owner), partition_of(gallery)

        async def compare() -> Comparison:
            same, other = 0, list[int]()
            for part in _parts(list(wanted), INSERT_BATCH):
                stored = await self._calls.facens(collection, partition, part)
                found = await asyncio.to_thread(_compare, stored, wanted)
                same, other = same + found.same, other + found.other
            return Comparison(same, sorted(other))

        return await self._partitions.if_present(owner, gallery, compare, missing=Comparison(0, []))

    async def count(self, owner: ObjectId, gallery: str) -> int:
        async def count() -> int:
            return await self._calls.count(collection_of(owner), partition_of(gallery))

        return await self._partitions.if_present(owner, gallery, count, missing=0)

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        collection, partition = collection_of(owner), partition_of(gallery)

        async def ids() -> list[int]:
            found: list[int] = []
            while True:
                after = f"id > {found[-1] if found else -1}"
                page = await self._calls.ids(collection, partition, after, ID_PAGE)
                found += page
                if len(page) < ID_PAGE:
                    return await asyncio.to_thread(_sort_ids, found)

        return await self._partitions.if_present(owner, gallery, ids, missing=[])

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        return [key for key in await self._partitions.galleries(owner) if await self.count(*key)]

    async def health(self) -> list[ShardHealth]:
        name = f"milvus {self._calls.address}"
        try:
            counts = [await self.count(*key) for key in await self._partitions.galleries(None)]
        except FacenStorageError:
            return [ShardHealth(name, live=False, facens=0)]
        return [ShardHealth(name, live=True, facens=sum(counts))]

    async def close(self) -> None:
        await self._calls.close()

    async def _existing(self, collection: str, partition: str, ids: Sequence[int]) -> list[int]:
        return await self._calls.ids(collection, partition, f"id in {list(ids)}", len(ids))


def _parts(entries: Sequence[_Result], size: int) -> Iterable[Sequence[_Result]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _compare(stored: Iterable[tuple[int, Sequence[float]]], wanted: Mapping[int, Facen]) -> Comparison:
    """Compare facens by id. An id with several entries is equal only if all entries are."""
    equal: dict[int, bool] = {}
    for face_id, numbers in stored:
        facen = np.asarray(numbers, dtype=np.float32)
        same = len(facen) == len(wanted[face_id]) and bool(
            np.abs(facen - wanted[face_id]).max() <= VALUE_TOLERANCE
        )
        equal[face_id] = equal.get(face_id, True) and same
    return Comparison(sum(equal.values()), [face_id for face_id, same in equal.items() if not same])


def _sort_ids(ids: list[int]) -> list[int]:
    return sorted_ids(drain(ids))


def _filters(allowed: NDArray[np.int64]) -> Iterable[str]:
    """Filter expressions for these ids, generated lazily: formatting a million ids takes long."""
    for start in range(0, len(allowed), MAX_FILTER_IDS):
        yield f"id in {allowed[start : start + MAX_FILTER_IDS].tolist()}"


def _best(hits: Sequence[tuple[int, float]], limit: int, threshold: float) -> list[FacenHit]:
    min_cosine = cosine(threshold) - COSINE_TOLERANCE
    near = sorted({hit for hit in hits if hit[1] >= min_cosine}, key=lambda hit: (-hit[1], hit[0]))
    return [FacenHit(face_id, float(np.clip(confidence(value), 0.0, 1.0))) for face_id, value in near[:limit]]
