"""Merges nameless persons into people who were enrolled later.

From the enrolment on, cameras recognise a visitor as the enrolled person. Earlier visits belong to a nameless
person, which is merged if the evidence is overwhelming. `facend persons undo` undoes the merge.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bson import ObjectId

from pipeline.types import Facen
from store.collections.users import UserArgument
from store.context import Context
from store.face_fields import usable_facen
from store.identity.change_log import Change
from store.identity.changes import PersonChanges
from store.identity.evidence import distinct_pairs
from store.recognition.agreement import Scored, two_nearest
from store.recognition.nearest import nearest
from store.settings import CAMERA_REFERENCES, ENROLLED_GALLERY, REFERENCES

MAX_REFERENCES = 256
"""Maximum number of references, the nearest first, that are considered for an enrolled face."""


@dataclass(frozen=True, slots=True)
class LookBackRules:
    """A person's references must resemble an enrolled face: either two of them, or one with certainty."""

    threshold: float
    """Minimum confidence of two references of different visits."""
    certain: float
    """Minimum confidence of a single reference."""


class LookBack:
    """Finds nameless persons of one user who are now enrolled, and merges them."""

    def __init__(self, ctx: Context, user: UserArgument, rules: LookBackRules) -> None:
        self._ctx = ctx
        self._user = user
        self._rules = rules
        self._changes = PersonChanges(ctx, user, ctx.persons.rules.references, by="enrolment")

    async def run(self, enrolled: Collection[int]) -> list[Change]:
        """Merge nameless persons into these enrolled ones, the most similar first."""
        owner = await self._ctx.users.owner(self._user)
        galleries = await self._reference_galleries(owner)
        found = [one for person in enrolled for one in await self._similar(owner, person, galleries)]
        distinct = await distinct_pairs(self._ctx, self._user)
        merges, merged = [], set[int]()
        for _, person, other in sorted(found, key=lambda one: -one[0]):
            if other in merged or frozenset((person, other)) in distinct:
                continue
            if await self._is_nameless(owner, other) and await self._is_nearest(
                owner, person, other, galleries
            ):
                merges.append(await self._changes.merge(person, other))
                merged.add(other)
        return merges

    async def _reference_galleries(self, owner: ObjectId) -> list[str]:
        names = [gallery["name"] for gallery in await self._ctx.galleries.find(owner, None)]
        found = [name for name in names if name == REFERENCES or name.startswith(CAMERA_REFERENCES)]
        for name in found:
            await self._ctx.faces.catch_up(owner, name, everything=True)
        return found

    async def _similar(
        self, owner: ObjectId, person: int, galleries: Sequence[str]
    ) -> list[tuple[float, int, int]]:
        """Confidence, the person, and another person with overwhelmingly similar references, for each of
        these."""
        found: dict[int, float] = {}
        for facen in await self._facens(owner, person, ENROLLED_GALLERY):
            for other, faces in (await self._nearest(owner, facen, galleries)).items():
                pair, rules = two_nearest(faces), self._rules
                best = faces[0][1]
                if best >= rules.certain or (len(pair) == 2 and pair[1][1] >= rules.threshold):
                    found[other] = max(best, found.get(other, 0.0))
        return [(confidence, person, other) for other, confidence in found.items() if other != person]

    async def _is_nearest(self, owner: ObjectId, person: int, other: int, galleries: Sequence[str]) -> bool:
        """Whether no reference of `other` is more similar to another enrolled person than to this one."""
        for gallery in galleries:
            for facen in await self._facens(owner, other, gallery):
                found = await self._nearest(owner, facen, [ENROLLED_GALLERY])
                ranked = sorted(found, key=lambda one: -found[one][0][1])
                if ranked and ranked[0] != person:
                    return False
        return True

    async def _nearest(
        self, owner: ObjectId, facen: Facen, galleries: Sequence[str]
    ) -> dict[int, list[Scored]]:
        """By person, the faces that reach the threshold, the nearest first."""
        by_person: dict[int, list[Scored]] = defaultdict(list)
        if galleries:
            where = (self._ctx.database["faces"], self._ctx.facens, owner, galleries)
            found = await nearest(*where, facen, MAX_REFERENCES, self._rules.threshold, {})
            for face, confidence in found.faces:
                if isinstance(face.get("person_id"), int):
                    by_person[face["person_id"]].append((face, confidence))
        return by_person

    async def _facens(self, owner: ObjectId, person: int, gallery: str) -> list[Facen]:
        faces = await self._ctx.faces.find(owner, {"person_id": person, "gallery": gallery})
        facens = [usable_facen(face, self._ctx.faces.facen_size) for face in faces]
        return [facen for facen in facens if facen is not None]

    async def _is_nameless(self, owner: ObjectId, person_id: int) -> bool:
        """Whether cameras created the person, who has no name and is not enrolled."""
        person = await self._ctx.persons.find_one(owner, {"_id": person_id})
        if person is None or person.get("name"):
            return False
        return not await self._ctx.faces.count(owner, {"person_id": person_id, "gallery": ENROLLED_GALLERY})
