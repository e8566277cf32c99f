"""The facen storage: galleries of facens, searched for the nearest.

A gallery belongs to an owner; the same name with another owner is another gallery. Ids are
those of faces. What is stored here is a copy: MongoDB is the truth.
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
CONVERT_AT_ONCE = 10_000
SAME = 1e-4
"""Two facens whose numbers are nowhere further apart are the same one: half precision, and reckoning in
another order, change less."""


class FacenHit(NamedTuple):
    """One face that a search found."""

    id: int
    confidence: float
    """0 to 1, see `pipeline.faces.facen`."""


@dataclass(frozen=True, slots=True)
class FacenSearch:
    """What a search found, and who answered."""

    hits: list[FacenHit]
    """The best first; the older id first where two are alike."""
    live_servers: int
    total_servers: int


class Compared(NamedTuple):
    """What a gallery holds of some faces."""

    same: int
    """Number of entries with the same facen."""
    other: list[int]
    """The ids of those that are there with other facens."""


@dataclass(frozen=True, slots=True)
class ShardHealth:
    name: str
    live: bool
    facens: int
    """How many it holds; 0 where it does not answer."""


class FacenStorage(Protocol):
    """What every engine offers.

    Facens are (size,) float32 and normalised; a facen of another size is a BadValueError.
    Every method raises FacenStorageError, naming the shard, where a shard does not do its part.
    """

    pack: str | None
    """The model pack of the facens; None where any is accepted."""

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        """Adds a face to a gallery. FacenExistsError where it is there already."""
        ...

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        """Adds those that are not there yet, and returns how many these were."""
        ...

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        """Removes a face from a gallery; False where it was not there."""
        ...

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        """Removes a gallery with everything in it; no error where there is none."""
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
        """The `limit` most alike faces with at least this confidence, among the allowed ids if given.

        Many allowed ids are best given as an array of int64.
        """
        ...

    async def search_many(
        self, owner: ObjectId, gallery: str, facens: Sequence[Facen], limit: int, threshold: float
    ) -> list[FacenSearch]:
        """The same for several facens at once."""
        ...

    async def compare(self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]) -> Compared:
        """Whether faces are there with these facens; those that are not there are left out."""
        ...

    async def count(self, owner: ObjectId, gallery: str) -> int: ...
    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        """The ids of a gallery's faces, in order."""
        ...

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        """Owner and name of each gallery that holds a face."""
        ...

    async def health(self) -> list[ShardHealth]:
        """Every shard, whether it lives or not."""
        ...

    async def close(self) -> None: ...


def checked_facen(facen: Facen, size: int | None) -> Facen:
    """The facen. BadValueError unless it is a valid one of `size` numbers."""
    if facen.ndim != 1 or not len(facen) or not np.isfinite(facen).all():
        raise BadValueError("a facen is a row of finite numbers")
    if size is not None and len(facen) != size:
        raise BadValueError(f"the facens here have {size} numbers, this one has {len(facen)}")
    return facen


def listed(ids: NDArray[np.int64]) -> list[int]:
    """The ids in order, each once. In parts, because making Python's numbers holds everything else up."""
    ordered = np.unique(ids)
    numbers: list[int] = []
    for start in range(0, len(ordered), CONVERT_AT_ONCE):
        numbers += ordered[start : start + CONVERT_AT_ONCE].tolist()
    return numbers


def unwrapped(ids: list[int]) -> NDArray[np.int64]:
    """Empties the list, in parts: freeing a million Python numbers at once would block the event loop."""
    array = id_array(ids)
    while ids:
        del ids[-CONVERT_AT_ONCE:]
    return array


def id_array(ids: Iterable[int]) -> NDArray[np.int64]:
    """In parts, because looking at many of Python's numbers holds up all other threads."""
    if isinstance(ids, np.ndarray):
        return ids.astype(np.int64, copy=False)
    numbers = iter(ids)
    parts = [np.empty(0, dtype=np.int64)]
    while len(part := np.fromiter(islice(numbers, CONVERT_AT_ONCE), dtype=np.int64)):
        parts.append(part)
    return np.concatenate(parts)
