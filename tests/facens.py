"""Generated facens and faces of any number of people, without pictures."""

import numpy as np

from pipeline.faces.facen import encode, normalise
from pipeline.types import ExtractionFace, Facen, Rectangle
from store import Context, Face, User

SIZE = 128


def person_facen(number: int, size: int = SIZE) -> Facen:
    """The facen of person `number`; facens of different people are nearly orthogonal."""
    return normalise(np.random.default_rng(number).standard_normal(size).astype(np.float32))


def like(facen: Facen, cosine: float, seed: int = 0) -> Facen:
    """Another facen with exactly this cosine to the given one, up to rounding."""
    other = np.random.default_rng(10_000 + seed).standard_normal(len(facen))
    aside = other - float(other @ facen) * facen
    aside /= np.linalg.norm(aside)
    return normalise((cosine * facen + np.sqrt(1 - cosine**2) * aside).astype(np.float32))


def extraction_face(facen: Facen) -> ExtractionFace:
    return ExtractionFace(
        bbox=Rectangle(-3.5, 10.0, 96.25, 130.0),
        normalized=b"\x89PNG aligned",
        score=-0.25,
        photo_hash="0cc175b9c0f1b6a831c399e269772661",
        facen=encode(facen),
    )


def face(facen: Facen, **fields: object) -> Face:
    """A face that is not stored yet."""
    made = Face.from_extraction_face(extraction_face(facen))
    made.update(fields)
    return made


async def stored(ctx: Context, user: User, facen: Facen, galleries: list[str], **fields: object) -> Face:
    """A stored face in these galleries, which are created if missing."""
    made = await ctx.faces.add(user, face(facen, **fields))
    for gallery in galleries:
        await ctx.galleries.ensure(user, gallery)
    if galleries:
        await ctx.faces.add_to_galleries(made, galleries)
    return made
