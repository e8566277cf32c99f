"""A facen storage brought to what MongoDB says, from nothing or from half-way, and proven equal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from store.client import Database
from store.driver_errors import DRIVER_ERRORS, ours
from store.errors import StoreError
from store.facens.filling import FIELDS, facen_for
from store.facens.following import FaceLocks, Following
from store.facens.reconciling import differences, listed_galleries, reconcile
from store.facens.storage import FacenStorage

ROUNDS = 20
"""While others go on storing, each round has less to do than the one before."""
ALIKE = 0.9999
SAMPLES = 20
"""Faces of each gallery that are looked for by their facens."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, and found to be equal."""

    galleries: int
    entries: int
    looked_for: int
    """Faces that were found by their own facens."""


async def bring_over(
    database: Database, target: FacenStorage, told: Callable[[int], object] = lambda _: None
) -> Proof:
    """Fills the target from MongoDB and proves that both hold the same.

    Can be broken off and begun again: what is there already is not brought again. Others may go on
    storing meanwhile.

    Raises:
        StoreError: a side does not answer, or they are not equal, which should not be.
    """
    settle = Following(database["faces"], target, FaceLocks()).settle
    for _ in range(ROUNDS):
        if await reconcile(database, target, settle, told=told) == (0, 0):
            break
    return await prove_equal(database, target)


async def prove_equal(database: Database, target: FacenStorage) -> Proof:
    """Every id of every gallery, and for some faces of each that their facens lead to them. StoreError
    where one does not."""
    async for found in differences(database, target):
        raise StoreError(
            f"the gallery {found.gallery} differs: {len(found.missing)} facens are missing, "
            f"{len(found.foreign)} are too many; the faces may be stored faster than they are moved, "
            "or not be usable (see `facend doctor`): run it again"
        )
    galleries = entries = looked_for = 0
    for owner, gallery in await listed_galleries(database, target):
        count = await target.count(owner, gallery)
        galleries, entries = galleries + bool(count), entries + count
        sample: list[dict[str, Any]] = [
            {"$match": {"owner": owner, "gallery": gallery}},
            {"$sample": {"size": SAMPLES}},
        ]
        try:
            faces = [face async for face in database["faces"].aggregate([*sample, {"$project": FIELDS}])]
        except DRIVER_ERRORS as error:
            raise ours(error, "faces.sample") from error
        for face in faces:
            facen = facen_for(target, face)
            found_faces = await target.search(owner, gallery, facen, 1, ALIKE, [face["_id"]])
            if [hit.id for hit in found_faces.hits] != [face["_id"]]:
                raise StoreError(
                    f"the face {face['_id']} is not found by its own facen in the gallery {gallery}; "
                    "make the facens anew with `facend facens rebuild`"
                )
            looked_for += 1
    return Proof(galleries, entries, looked_for)
