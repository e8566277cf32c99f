"""Finds pairs of persons with similar references.

In a small gallery, each reference is searched. In a large one, the mean of each person's references is first
compared with all other means, and only persons with similar means have their references compared. This misses
no pair that `store.identity.evidence` would propose: if all pairs of visits of two persons have a minimum
confidence, so have their means.

CPU-bound parts run in threads, in slices, on the arrays of the facen storage.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np
import structlog
from bson import ObjectId, decode_all
from numpy.typing import NDArray

from pipeline.faces.facen import FacenError, cosine, decode
from pipeline.types import Facen
from store.facens.engine.codes import to_float32
from store.facens.engine.gallery_array import Block, GalleryView, Precision
from store.facens.engine.local import LocalFacens
from store.facens.engine.scan import COSINE_TOLERANCE, HALF_COSINE_TOLERANCE
from store.facens.storage import FacenStorage
from store.facens.sync.factory import local_shards
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

log = structlog.get_logger()

NEIGHBOURS = 16
"""Number of nearest faces requested per reference."""
MAX_SEARCHED = 20_000
"""Maximum number of references that are searched individually; above it, means are compared first."""
BATCH_REFERENCES = 256
"""Number of references searched at once, and number of pairs of persons compared at once."""
BATCH = 5_000
ROWS, COLUMNS = 512, 1 << 14
"""Shape of one matrix product of means. Large, because BLAS threads synchronise at the end of each."""
MEANS_AT_ONCE = 1 << 26
"""Number of products computed per call to the thread pool."""
MAX_SIMILAR = 64
"""Maximum number of persons with similar means kept per person."""
PRUNE_ABOVE = 4_000_000
"""Number of pairs from which they are pruned to the best."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pairs = set[tuple[int, int]]
"""Pairs of person ids, the lower id first."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The faces of a gallery that have a person."""

    ids: Ints
    """Face ids, sorted."""
    persons: Ints
    """The person of each face."""


async def neighbours(
    faces: Collection, facens: FacenStorage, owner: ObjectId, gallery: str, threshold: float, least: float
) -> Pairs:
    """Pairs of persons with similar faces in the gallery.

    Args:
        threshold: minimum confidence of two faces.
        least: no pair is missed whose visits all have at least this confidence.
    """
    assigned = await assigned_faces(faces, owner, gallery)
    shards = local_shards(facens)
    if len(assigned.ids) <= MAX_SEARCHED or not shards:
        return await _search_references(faces, facens, owner, gallery, assigned, threshold)
    return await _compare_means(shards, owner, gallery, assigned, threshold, least)


async def assigned_faces(faces: Collection, owner: ObjectId, gallery: str) -> Assigned:
    query = {"owner": owner, "gallery": gallery, "person_id": {"$type": ["int", "long"]}}
    parts: list[NDArray[np.int64]] = [np.empty((2, 0), dtype=np.int64)]
    cursor = faces.find_raw_batches(query, {"person_id": 1}, batch_size=BATCH)
    try:
        parts.extend([await asyncio.to_thread(_ids_and_persons, batch) async for batch in cursor])
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.find") from error
    ids, persons = np.concatenate(parts, axis=1)
    order = np.argsort(ids, kind="stable")
    return Assigned(ids[order], persons[order])


def _ids_and_persons(batch: bytes) -> Ints:
    found = [
        (one["_id"], one["person_id"])
        for one in decode_all(batch)
        if isinstance(one.get("_id"), int) and isinstance(one.get("person_id"), int)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 2).T


async def _search_references(
    faces: Collection,
    facens: FacenStorage,
    owner: ObjectId,
    gallery: str,
    assigned: Assigned,
    threshold: float,
) -> Pairs:
    pairs: Pairs = set()
    person_of = dict(zip(assigned.ids.tolist(), assigned.persons.tolist(), strict=True))
    async for some in _read_facens(faces, owner, assigned.ids):
        found = await facens.search_many(owner, gallery, [facen for _, facen in some], NEIGHBOURS, threshold)
        for (face_id, _), search in zip(some, found, strict=True):
            person = person_of[face_id]
            for hit in search.hits:
                other = person_of.get(hit.id, person)
                if other != person:
                    pairs.add((min(other, person), max(other, person)))
    return pairs


async def _read_facens(
    faces: Collection, owner: ObjectId, ids: Ints
) -> AsyncIterator[list[tuple[int, Facen]]]:
    """The facens of these faces in batches; faces without one are skipped."""
    for start in range(0, len(ids), BATCH_REFERENCES):
        query = {"_id": {"$in": ids[start : start + BATCH_REFERENCES].tolist()}, "owner": owner}
        cursor = faces.find_raw_batches(query, {"facen": 1}, batch_size=BATCH_REFERENCES)
        try:
            batches = [batch async for batch in cursor]
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find") from error
        if some := await asyncio.to_thread(_decode_facens, batches):
            yield some


def _decode_facens(batches: Sequence[bytes]) -> list[tuple[int, Facen]]:
    found = []
    for document in (document for batch in batches for document in decode_all(batch)):
        try:
            found.append((document["_id"], decode(document.get("facen", ""))))
        except FacenError as error:
            log.warning("a stored face has no usable facen", face=document["_id"], reason=str(error))
    return found


async def _compare_means(
    shards: Sequence[LocalFacens],
    owner: ObjectId,
    gallery: str,
    assigned: Assigned,
    threshold: float,
    least: float,
) -> Pairs:
    if not len(assigned.ids):
        return set()
    async with AsyncExitStack() as stack:
        views = [await stack.enter_async_context(shard.open_view(owner, gallery)) for shard in shards]
        references = await asyncio.to_thread(_References, [view for view in views if view.count], assigned)
        if not len(references.persons):
            return set()
        for part in references.parts():
            await asyncio.to_thread(references.add, part)
        means = await asyncio.to_thread(references.means)
        tolerance = (
            COSINE_TOLERANCE
            if all(view.precision is Precision.FULL for view in views)
            else HALF_COSINE_TOLERANCE
        )
        similar = _Similar(means, cosine(least) - tolerance)
        for start in similar.starts():
            await asyncio.to_thread(similar.compare, start)
        one, other = await asyncio.to_thread(similar.pairs)
        pairs: Pairs = set()
        for start in range(0, len(one), BATCH_REFERENCES):
            some = slice(start, start + BATCH_REFERENCES)
            pairs |= await asyncio.to_thread(
                references.similar_pairs, one[some], other[some], cosine(threshold) - tolerance
            )
        return pairs


class _References:
    """The facens of persons' references, read in place from the storage's blocks."""

    def __init__(self, views: Sequence[GalleryView], assigned: Assigned) -> None:
        self._blocks: list[tuple[int, Block, GalleryView]] = []
        ids: list[Ints] = []
        end = 0
        for view in views:
            for block in view.blocks:
                self._blocks.append((end, block, view))
                ids.append(block.ids)
                end += len(block.ids)
        stored = np.concatenate(ids) if ids else np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(assigned.ids, stored), len(assigned.ids) - 1)
        known = assigned.ids[places] == stored
        self.persons, identities = np.unique(assigned.persons[places[known]], return_inverse=True)
        self._person = np.full(len(stored), -1, dtype=np.int64)
        self._person[known] = identities
        rows = np.flatnonzero(known)
        self._rows = rows[np.argsort(identities, kind="stable")]
        """The rows of all references, grouped by person."""
        self._counts = np.bincount(identities, minlength=len(self.persons))
        self._firsts = np.cumsum(self._counts) - self._counts
        size = self._blocks[0][1].vectors.shape[1] if self._blocks else 0
        self._sums = np.zeros((len(self.persons), size), dtype=np.float32)

    def parts(self) -> list[int]:
        return list(range(len(self._blocks)))

    def add(self, part: int) -> None:
        """Add the facens of a block to the sums."""
        start, block, view = self._blocks[part]
        identities = self._person[start : start + len(block.ids)]
        order = np.argsort(identities, kind="stable")
        order = order[np.searchsorted(identities[order], 0) :]
        if not len(order):
            return
        persons, firsts = np.unique(identities[order], return_index=True)
        vectors = to_float32(block.vectors[: len(block.ids)][order], view.precision)
        self._sums[persons] += np.add.reduceat(vectors, firsts, axis=0)

    def means(self) -> Floats:
        """Normalise the sums, and return them."""
        lengths = np.sqrt(np.einsum("ij,ij->i", self._sums, self._sums))
        self._sums /= np.maximum(lengths, np.float32(1e-12))[:, np.newaxis]
        return self._sums

    def similar_pairs(self, one: Ints, other: Ints, least: float) -> Pairs:
        """Those of the pairs, given as indices of persons, that have a pair of similar references."""
        pair, left = self._rows_of(one)
        again, right = self._rows_of(other[pair])
        left, pair = left[again], pair[again]
        rows, inside = np.unique(np.concatenate((left, right)), return_inverse=True)
        vectors = self._vectors(rows)
        cosines = np.einsum("ij,ij->i", vectors[inside[: len(left)]], vectors[inside[len(left) :]])
        near = np.unique(pair[cosines >= least])
        found = zip(self.persons[one[near]].tolist(), self.persons[other[near]].tolist(), strict=True)
        return {(min(pair), max(pair)) for pair in found}

    def _rows_of(self, persons: Ints) -> tuple[Ints, Ints]:
        """For each row of each of these persons: the index into `persons`, and the row."""
        counts = self._counts[persons]
        place = np.repeat(np.arange(len(persons)), counts)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return place, self._rows[self._firsts[persons][place] + within]

    def _vectors(self, rows: Ints) -> Floats:
        """The facens of sorted rows."""
        vectors = np.empty((len(rows), self._sums.shape[1]), dtype=np.float32)
        for start, block, view in self._blocks:
            first, last = np.searchsorted(rows, (start, start + len(block.ids)))
            if first < last:
                vectors[first:last] = to_float32(block.vectors[rows[first:last] - start], view.precision)
        return vectors


class _Similar:
    """Finds the pairs of means with a minimum cosine."""

    def __init__(self, means: Floats, least: float) -> None:
        self._means = means
        self._least = np.float32(least)
        self._rows = max(ROWS, min(MEANS_AT_ONCE // max(1, len(means)), len(means)) // ROWS * ROWS)
        self._found: list[tuple[Ints, Ints, Floats]] = []
        self._pending = 0
        self._bound = PRUNE_ABOVE

    def starts(self) -> range:
        return range(0, len(self._means), self._rows)

    def compare(self, start: int) -> None:
        """Compare the means from `start` on, `_rows` of them, with each other and with all later ones."""
        # Reused for each product, because new memory causes page faults.
        buffer = np.empty(ROWS * min(COLUMNS, len(self._means)), dtype=np.float32)
        for top in range(start, min(start + self._rows, len(self._means)), ROWS):
            some = self._means[top : top + ROWS]
            for left in range(top, len(self._means), COLUMNS):
                others = self._means[left : left + COLUMNS]
                near = buffer[: len(some) * len(others)].reshape(len(some), len(others))
                np.dot(some, others.T, out=near)
                if near.max() < self._least:
                    continue
                rows, columns = np.nonzero(near >= self._least)
                after = columns + left > rows + top
                rows, columns = rows[after], columns[after]
                self._found.append((rows + top, columns + left, near[rows, columns]))
                self._pending += len(rows)
        if self._pending > self._bound:
            self._prune()

    def pairs(self) -> tuple[Ints, Ints]:
        self._prune()
        if not self._found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        one, other, _ = self._found[0]
        return one, other

    def _prune(self) -> None:
        """Keep the `MAX_SIMILAR` best pairs of each person. A pair stays if it is among the best of
        either."""
        if not self._found:
            return
        one, other, values = (np.concatenate(part) for part in zip(*self._found, strict=True))
        kept = np.zeros(len(one), dtype=np.bool_)
        for identities in (one, other):
            order = np.lexsort((-values, identities))
            first = np.searchsorted(identities[order], identities[order])
            kept[order[np.arange(len(order)) - first < MAX_SIMILAR]] = True
        self._found = [(one[kept], other[kept], values[kept])]
        self._pending = int(kept.sum())
        self._bound = max(self._bound, 2 * self._pending)
