"""A facen storage of several shards; a hash of the face's id selects the shard.

A shard that fails is down: operations on it raise an error that names it, and searches that ignore errors
skip it. `recover` brings it back: it receives changes again, catches up with those it missed, and only then
is live.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum, auto
from typing import TypeVar

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from pipeline.types import Facen
from store.errors import FacenExistsError, FacenStorageError
from store.facens.engine.row_index import hashes
from store.facens.storage import (
    Comparison,
    FacenHit,
    FacenSearch,
    FacenSize,
    FacenStorage,
    GalleryKey,
    ShardHealth,
    drain,
    id_array,
    sorted_ids,
)

SHARD_SHIFT = np.uint64(40)

_Result = TypeVar("_Result")
ShardFilter = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
"""Selects the ids that belong to a shard, as a mask."""


class _State(Enum):
    LIVE = auto()
    DOWN = auto()
    CATCHING_UP = auto()
    """The shard receives changes but no searches."""


class ShardedFacens:
    """FacenStorage over shards on one event loop."""

    def __init__(self, shards: Sequence[FacenStorage], names: Sequence[str], size: int | None = None) -> None:
        """`size`: size of the facens. Default: that of the first facen added."""
        self.shards = tuple(shards)
        self.names = tuple(names)
        self.pack = shards[0].pack
        self._size = FacenSize(size)
        self._states = [_State.LIVE] * len(shards)
        self._reasons = [""] * len(shards)

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        number, checked = self._shard_of(face_id), self._size.checked(facen)
        await self._on(number, lambda shard: shard.add(owner, gallery, face_id, checked))

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        parts: dict[int, list[tuple[int, Facen]]] = defaultdict(list)
        for face_id, facen in entries:
            parts[self._shard_of(face_id)].append((face_id, self._size.checked(facen)))
        added = 0
        for number, part in parts.items():
            added += await self._on(number, _add_to_shard(owner, gallery, part))
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        return await self._on(self._shard_of(face_id), lambda shard: shard.remove(owner, gallery, face_id))

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        await self._on_all(lambda shard: shard.drop(owner, gallery))

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
        self._size.checked(facen)
        parts = None if allowed is None else await asyncio.to_thread(self._parts_of, allowed)

        async def search_shard(number: int) -> FacenSearch:
            part = None if parts is None else parts[number]
            return await self._search_live(
                number, lambda shard: shard.search(owner, gallery, facen, limit, threshold, part)
            )

        searches = [search_shard(number) for number in range(len(self.shards))]
        results = _without_errors(await asyncio.gather(*searches, return_exceptions=True), ignore_errors)
        hits = _best([result.hits for result in results], limit)
        return FacenSearch(hits, len(results), len(self.shards))

    async def search_many(
        self, owner: ObjectId, gallery: str, facens: Sequence[Facen], limit: int, threshold: float
    ) -> list[FacenSearch]:
        searches = [
            self._search_live(
                number, lambda shard: shard.search_many(owner, gallery, facens, limit, threshold)
            )
            for number in range(len(self.shards))
        ]
        found = _without_errors(await asyncio.gather(*searches, return_exceptions=True), ignore_errors=False)
        total = len(self.shards)
        return [
            FacenSearch(_best([answer[query].hits for answer in found], limit), total, total)
            for query in range(len(facens))
        ]

    async def compare(
        self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]
    ) -> Comparison:
        shards = self._shards_of(np.array([face_id for face_id, _ in entries], dtype=np.int64)).tolist()
        parts: list[list[tuple[int, Facen]]] = [[] for _ in self.shards]
        for entry, shard in zip(entries, shards, strict=True):
            parts[shard].append(entry)
        work = [_compare_on_shard(owner, gallery, part) for part in parts]
        found = [await self._on(number, compare) for number, compare in enumerate(work)]
        return Comparison(
            sum(part.same for part in found), sorted(face for part in found for face in part.other)
        )

    async def count(self, owner: ObjectId, gallery: str) -> int:
        return sum(await self._on_all(lambda shard: shard.count(owner, gallery)))

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        parts = await self._on_all(lambda shard: shard.ids(owner, gallery))
        return await asyncio.to_thread(lambda: sorted_ids(np.concatenate([drain(part) for part in parts])))

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        parts = await self._on_all(lambda shard: shard.galleries(owner))
        return sorted({key for part in parts for key in part})

    async def health(self) -> list[ShardHealth]:
        shards = []
        for shard, name, state in zip(self.shards, self.names, self._states, strict=True):
            live = state is _State.LIVE
            facens = sum(part.facens for part in await shard.health()) if live else 0
            shards.append(ShardHealth(name, live, facens))
        return shards

    async def close(self) -> None:
        for shard in self.shards:
            await shard.close()

    def down_shards(self) -> list[str]:
        """The names of shards that are down and not being recovered."""
        return [name for name, state in zip(self.names, self._states, strict=True) if state is _State.DOWN]

    def mark_down(self, name: str, reason: str) -> None:
        """Mark a shard as down. Later errors give the reason."""
        number = self.names.index(name)
        self._states[number], self._reasons[number] = _State.DOWN, reason

    async def recover(
        self, name: str, catch_up: Callable[[FacenStorage, ShardFilter], Awaitable[object]]
    ) -> None:
        """Make a shard live again after `catch_up` has updated its entries.

        If `catch_up` raises, the shard stays down.
        """
        number = self.names.index(name)
        self._states[number] = _State.CATCHING_UP
        try:
            await catch_up(self.shards[number], lambda ids: self._shards_of(ids) == number)
        except BaseException:
            self._states[number] = _State.DOWN
            raise
        if self._states[number] is _State.CATCHING_UP:
            self._states[number] = _State.LIVE

    def _shard_of(self, face_id: int) -> int:
        return int(self._shards_of(np.array([face_id], dtype=np.int64))[0])

    def _shards_of(self, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
        return (hashes(ids) >> SHARD_SHIFT) % np.uint64(len(self.shards))

    def _parts_of(self, allowed: Iterable[int]) -> list[NDArray[np.int64]]:
        """Divide the allowed ids among the shards."""
        ids = id_array(allowed)
        shards = self._shards_of(ids)
        return [ids[shards == number] for number in range(len(self.shards))]

    async def _on(self, number: int, work: Callable[[FacenStorage], Awaitable[_Result]]) -> _Result:
        """Call a shard that is not down; mark it as down if it fails."""
        name = self.names[number]
        if self._states[number] is _State.DOWN:
            raise FacenStorageError(f"{name} is down ({self._reasons[number]})", name)
        try:
            return await work(self.shards[number])
        except FacenExistsError:
            raise
        except (FacenStorageError, MemoryError) as error:
            self.mark_down(name, str(error) or type(error).__name__)
            raise FacenStorageError(f"{name} failed: {error}", name) from error

    async def _on_all(self, work: Callable[[FacenStorage], Awaitable[_Result]]) -> list[_Result]:
        return [await self._on(number, work) for number in range(len(self.shards))]

    async def _search_live(self, number: int, work: Callable[[FacenStorage], Awaitable[_Result]]) -> _Result:
        if self._states[number] is _State.CATCHING_UP:
            name = self.names[number]
            raise FacenStorageError(f"{name} is catching up with missed changes", name)
        return await self._on(number, work)


def _add_to_shard(
    owner: ObjectId, gallery: str, entries: list[tuple[int, Facen]]
) -> Callable[[FacenStorage], Awaitable[int]]:
    return lambda shard: shard.add_many(owner, gallery, entries)


def _compare_on_shard(
    owner: ObjectId, gallery: str, entries: list[tuple[int, Facen]]
) -> Callable[[FacenStorage], Awaitable[Comparison]]:
    return lambda shard: shard.compare(owner, gallery, entries)


def _without_errors(answers: list[_Result | BaseException], ignore_errors: bool) -> list[_Result]:
    found: list[_Result] = []
    for answer in answers:
        if not isinstance(answer, BaseException):
            found.append(answer)
        elif not (ignore_errors and isinstance(answer, FacenStorageError)):
            raise answer
    return found


def _best(parts: Sequence[Sequence[FacenHit]], limit: int) -> list[FacenHit]:
    merged = [hit for part in parts for hit in part]
    return sorted(merged, key=lambda hit: (-hit.confidence, hit.id))[:limit]
