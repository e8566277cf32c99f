"""The references of a person: a few good and different faces, with which new faces are compared.

Each person gallery has a second gallery with the references, so that the cost of a search does not depend on
the number of a person's faces. A face of poor quality is never a reference: it resembles many persons and
attracts strangers.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.facen import confidence
from store.collections.users import UserArgument
from store.context import Context
from store.face import Face
from store.face_fields import facen_of, score_of, usable_facen
from store.recognition.rules import ReferenceRules
from store.recognition.visit_evidence import shots_of
from store.settings import reference_gallery

SAME_PICTURE = 0.97
"""Confidence from which two faces show the same view, so that the better one suffices."""
BETTER_BY = 0.5
"""Minimum gain in quality score that replaces a reference of the same view."""
VIEW_WEIGHT = 0.05
"""Deduction from the similarity of two references per unit of difference between their views (`view_of`). On
poor pictures of 51 people, genuine matches stay the same and false matches fall by 1 to 4 %; from 0.2 on,
both fall."""
FARTHEST_VIEW = 2.0
"""Differences between two views above this count as this."""
MAX_CANDIDATES = 200
"""Number of a person's best faces from which references are chosen."""


class References:
    """Keeps the references of one user's persons."""

    def __init__(self, ctx: Context, user: UserArgument, rules: ReferenceRules) -> None:
        self._ctx = ctx
        self._user = user
        self._rules = rules

    def is_good(self, face: Face) -> bool:
        """Whether the face is good enough for a reference."""
        return self._rules.accept(score_of(face), shots_of(face))

    async def current(self, person_id: int, gallery: str) -> list[Face]:
        """A person's references for this person gallery."""
        query = {"person_id": person_id, "gallery": reference_gallery(gallery)}
        found = await self._ctx.faces.find(self._user, query, sort=[("_id", 1)])
        return [face for face in found if self._is_usable(face)]

    def _is_usable(self, face: Face) -> bool:
        return usable_facen(face, self._ctx.faces.facen_size) is not None

    async def consider(self, face: Face, gallery: str) -> None:
        """Make a stored face a reference of its person if that improves the references."""
        known = reference_gallery(gallery) in face.galleries
        if known or not self.is_good(face) or not self._is_usable(face):
            return
        kept = [*await self.current(face["person_id"], gallery), face]
        while (out := redundant(kept, self._rules.max_count)) is not None:
            kept.remove(out)
            if out is face:
                return
            # Can be more than one after a change of `persons.scope`.
            await self._leave(out, gallery)
        await self._join(face, gallery)

    async def choose(self, person_id: int, gallery: str) -> None:
        """Choose a person's references anew from their best faces in the person gallery."""
        query = {"person_id": person_id, "gallery": gallery, "score": {"$gte": self._rules.min_score}}
        best = await self._ctx.faces.find(
            self._user, query, sort=[("score", -1), ("_id", 1)], limit=MAX_CANDIDATES
        )
        chosen: list[Face] = []
        for face in best:
            if not self.is_good(face) or not self._is_usable(face):
                continue
            chosen.append(face)
            if (out := redundant(chosen, self._rules.max_count)) is not None:
                chosen.remove(out)
        wanted = {face["_id"] for face in chosen}
        for face in await self.current(person_id, gallery):
            if face["_id"] not in wanted:
                await self._leave(face, gallery)
        for face in chosen:
            await self._join(face, gallery)

    async def _join(self, face: Face, gallery: str) -> None:
        name = reference_gallery(gallery)
        if name in face.galleries:
            return
        await self._ctx.galleries.ensure(self._user, name)
        await self._ctx.faces.complete_galleries(face, [name])

    async def _leave(self, face: Face, gallery: str) -> None:
        await self._ctx.faces.del_from_galleries(face, [reference_gallery(gallery)])


def redundant(faces: Sequence[Face], max_count: int) -> Face | None:
    """The face that should not be a reference; None if all may stay. The last face is the new one.

    Of two faces of the same view, the older stays unless the new one is clearly better. Above `max_count`,
    the poorer of the two most similar faces goes. Pose and light count as differences, so that references
    cover the views in which the person appears.
    """
    if len(faces) < 2:
        return None
    facens = np.stack([facen_of(face) for face in faces])
    alike = np.asarray(confidence((facens @ facens.T).astype(np.float32)))
    np.fill_diagonal(alike, 0)
    new, nearest = faces[-1], int(alike[-1].argmax())
    if alike[-1, nearest] >= SAME_PICTURE:
        old = faces[nearest]
        return old if score_of(new) > score_of(old) + BETTER_BY else new
    if len(faces) <= max_count:
        return None
    views = np.stack([view_of(face) for face in faces])
    apart = np.nan_to_num(np.abs(views[:, np.newaxis] - views)).sum(axis=2)
    similar = alike - np.float32(VIEW_WEIGHT) * np.minimum(apart, FARTHEST_VIEW).astype(np.float32)
    np.fill_diagonal(similar, -np.inf)
    return _poorer(faces, similar)


def view_of(face: Face) -> NDArray[np.float64]:
    """Yaw and pitch in units of 30°, and brightness in stops (powers of two); NaN if not measured."""
    details = face.get("detector_info")
    parts = details.get("quality") if isinstance(details, Mapping) else None
    measures = parts if isinstance(parts, Mapping) else {}

    def measure(name: str) -> float:
        value = measures.get(name)
        return float(value) if isinstance(value, (int, float)) else math.nan

    light = measure("brightness")
    stops = math.log2(light) if light > 0 else math.nan
    return np.array([measure("yaw_degrees") / 30, measure("pitch_degrees") / 30, stops])


def _poorer(faces: Sequence[Face], alike: NDArray[np.float32]) -> Face:
    one, other = np.unravel_index(int(alike.argmax()), alike.shape)
    return min(faces[int(one)], faces[int(other)], key=lambda face: (score_of(face), -face["_id"]))
