"""Faces that a camera records, for tests of their recognition: threshold 0.8, band 0.03."""

from collections.abc import Awaitable, Callable

import numpy as np

from pipeline.faces.facen import normalise
from pipeline.types import Facen
from store.collections.users import User
from store.context import Context
from store.face import Face
from store.identity.unassigned import Reassessed, UnassignedFaces
from store.spool.stored_sighting import StoredSighting
from tests.facens import like, person_facen
from tests.sightings import RECORDING, START

ANNA, BERT = person_facen(1), person_facen(2)
POOR = -3.5
Record = Callable[..., Awaitable[StoredSighting]]


def at(facen: Facen, confidence: float, seed: int = 0) -> Facen:
    """A facen of exactly this confidence to the given one."""
    return like(facen, 2 * confidence - 1, seed)


def between(one: Facen, other: Facen, confidence: float) -> Facen:
    """A facen with this confidence to each of two others."""
    both, apart = normalise(one + other), normalise(one - other)
    aside = like(both, 0.0, seed=3)
    aside = normalise(aside - float(aside @ apart) * apart)
    cosine = (2 * confidence - 1) / float(both @ one)
    return normalise((cosine * both + np.sqrt(1 - cosine**2) * aside).astype(np.float32))


async def only_face(ctx: Context, user: User, stored: StoredSighting) -> Face:
    found = await ctx.faces.find_one(user, {"_id": stored.face_id})
    assert found is not None
    return found


async def look_again(ctx: Context, user: User) -> Reassessed:
    return await UnassignedFaces(ctx, user, RECORDING.threshold).reassess(START)
