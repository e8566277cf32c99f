"""References that agree: a face near two of one person's, and near nobody else's, below the threshold.

Two different references, each a little below the threshold, are more evidence together than each alone. The
face is compared with the middle between them, which is nearer to it than either if they differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.faces.facen import confidence, normalise
from pipeline.types import Facen
from store.face_fields import usable_facen, visit_of

Scored = tuple[Mapping[str, Any], float]
"""A face's document, and its confidence."""


def two_nearest(faces: Iterable[Scored]) -> list[Scored]:
    """The two nearest of one person's faces, of different visits; fewer where there are not two.

    Faces of one visit are nearly one look, so that the second adds no evidence. `faces`: the nearest first.
    """
    found: list[Scored] = []
    for face, sure in faces:
        visit = visit_of(face)
        if not found or (visit is not None and visit != visit_of(found[0][0])):
            found.append((face, sure))
        if len(found) == 2:
            break
    return found


def agreed_confidence(facen: Facen, faces: Sequence[Scored]) -> float:
    """The confidence of a facen with the middle of these two faces; 0 where they cannot be compared."""
    looks = [usable_facen(face, len(facen)) for face, _ in faces]
    one, other = looks
    if one is None or other is None or not (middle := one + other).any():
        return 0.0
    return min(1.0, max(0.0, confidence(float(normalise(middle) @ facen))))
