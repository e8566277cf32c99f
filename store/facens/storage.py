"""`FacenStorage`: galleries of facens that can be searched for the nearest.

A gallery is identified by owner and name, an entry by the id of its face. The storage is a copy: MongoDB is
authoritative.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from pipeline.types import Facen
from store.errors import BadValueError

GalleryKey = tuple[ObjectId, str]
"""Owner and name."""
CHUNK = 10_000
"""Number of ids converted at once; longer conversions would block other threads."""
VALUE_TOLERANCE = 1e-4
"""Maximum difference between values of equal facens. Half precision and rounding change values by less."""


class FacenHit(NamedTuple):
    """A face found by a search."""

    id: int
    confidence: float
    """0 to 1, see `pipeline.faces.facen`."""


@dataclass(frozen=True, slots=True)
class FacenSearch:
    """The result of a search."""

    hits: list[FacenHit]
    """Best first; with equal confidence, the smaller id first."""
    live_servers: int
    """Shards that answered."""
    total_servers: int


class Comparison(NamedTuple):
    """Result of comparing facens with the entries of a gallery. Missing entries count in neither field."""

    same: int
    """Number of entries with the same facen."""
    other: list[int]
    """Ids of entries with another facen."""


@dataclass(frozen=True, slots=True)
class ShardHealth:
    name: str
    live: bool
    facens: int
    """Number of facens; 0 if it does not answer."""


class FacenStorage(Protocol):
    """Interface of the facen storages.

    Facens have shape (size,), float32, normalised; another size raises BadValueError. Every method raises
    FacenStorageError, which names the shard, if a shard fails.
    """

    pack: str | None
    """The model pack of the facens; None if any is accepted."""

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        """Add a face to a gallery. FacenExistsError if it is already there."""
        ...

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        """Add the missing entries; returns their number."""
        ...

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        """Remove a face from a gallery; returns whether it was there."""
        ...

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        """Remove a gallery and its entries. No error if it does not exist."""
        ...

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
        """The `limit` most similar faces with at least this confidence.

        Args:
            allowed: search only these ids. For many ids, pass an array of int64.
            ignore_errors: search the remaining shards if one fails.
        """
        ...

    async def search_many(
        self, owner: ObjectId, gallery: str, facens: Sequence[Facen], limit: int, threshold: float
    ) -> list[FacenSearch]:
        """As `search`, for several facens."""
        ...

    async def compare(
        self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]
    ) -> Comparison:
        """Compare these facens with the entries of a gallery."""
        ...

    async def count(self, owner: ObjectId, gallery: str) -> int: ...
    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        """The ids of a gallery, in order."""
        ...

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        """The galleries with entries."""
        ...

    async def health(self) -> list[ShardHealth]:
        """The state of every shard."""
        ...

    async def close(self) -> None: ...


class FacenSize:
    """The size of a storage's facens: a given one, or that of the first facen."""

    def __init__(self, size: int | None) -> None:
        self.value = size

    def checked(self, facen: Facen) -> Facen:
        """The facen. BadValueError if it is not a row of finite numbers, or has another size."""
        if facen.ndim != 1 or not len(facen) or not np.isfinite(facen).all():
            raise BadValueError("a facen is a row of finite numbers")
        if self.value is None:
            self.value = len(facen)
        elif len(facen) != self.value:
            raise BadValueError(
                f"facens of this storage have {self.value} numbers, this one has {len(facen)}"
            )
        return facen


def sorted_ids(ids: NDArray[np.int64]) -> list[int]:
    """The distinct ids in order. Converts in chunks, because a long conversion holds the GIL."""
    ordered = np.unique(ids)
    numbers: list[int] = []
    for start in range(0, len(ordered), CHUNK):
        numbers += ordered[start : start + CHUNK].tolist()
    return numbers


def drain(ids: list[int]) -> NDArray[np.int64]:
    """An array of the ids. Empties the list in chunks: freeing a million ints at once would block the event
    loop."""
    array = id_array(ids)
    while ids:
        del ids[-CHUNK:]
    return array


def id_array(ids: Iterable[int]) -> NDArray[np.int64]:
    """An array of the ids. Converts in chunks, because a long conversion holds the GIL."""
    if isinstance(ids, np.ndarray):
        return ids.astype(np.int64, copy=False)
    numbers = iter(ids)
    parts = [np.empty(0, dtype=np.int64)]
    while len(part := np.fromiter(islice(numbers, CHUNK), dtype=np.int64)):
        parts.append(part)
    return np.concatenate(parts)
