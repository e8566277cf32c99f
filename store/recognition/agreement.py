"""Agreement of references: a face that is near two references of one person, but below the threshold.

Two different references, each a little below the threshold, are more evidence together than each alone. The
face is compared with the mean of the two, which is nearer to the face than either if they differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.faces.facen import confidence, normalise
from pipeline.types import Facen
from store.face_fields import usable_facen, visit_of

Scored = tuple[Mapping[str, Any], float]
"""A face's document, and its confidence."""


def two_nearest(faces: Iterable[Scored]) -> list[Scored]:
    """The two nearest of a person's faces that are of different visits; fewer if there are not two.

    Faces of one visit are nearly identical, so that a second one adds no evidence. `faces`: nearest first.
    """
    found: list[Scored] = []
    for face, match_confidence in faces:
        visit = visit_of(face)
        if not found or (visit is not None and visit != visit_of(found[0][0])):
            found.append((face, match_confidence))
        if len(found) == 2:
            break
    return found


def agreed_confidence(facen: Facen, faces: Sequence[Scored]) -> float:
    """The confidence of a facen with the mean of two faces; 0 if they cannot be compared."""
    facens = [usable_facen(face, len(facen)) for face, _ in faces]
    one, other = facens
    if one is None or other is None or not (mean := one + other).any():
        return 0.0
    return min(1.0, max(0.0, confidence(float(normalise(mean) @ facen))))
