"""Corrects the person of a visit, and marks visits as reviewed."""

from collections import defaultdict
from datetime import UTC, datetime

from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError
from store.face import Face
from store.identity.changes import PersonChanges
from store.identity.removal import FaceRemoval
from store.identity.unassigned import UnassignedFaces
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.visits.visit_document import VisitKey, faces_of

CERTAIN = 1.0


class VisitCorrections:
    """Changes the visits of one user."""

    def __init__(self, ctx: Context, user: UserArgument, by: str) -> None:
        """`by`: who corrects, for the records of changes and reviews."""
        self._ctx = ctx
        self._user = user
        self._by = by
        self._changes = PersonChanges(ctx, user, ctx.persons.rules.references, by=by)
        self._unassigned = UnassignedFaces(ctx, user, CERTAIN)

    async def set_person(self, key: VisitKey, person_id: int) -> None:
        """The visit shows this person. Faces of others are moved by changes that can be undone.

        Raises:
            NotFoundError: there is no such person or visit.
        """
        if await self._ctx.persons.find_one(self._user, {"_id": person_id}) is None:
            raise NotFoundError(f"there is no person {person_id}")
        for person, faces in (await self._faces_by_person(key)).items():
            if person is None:
                for face in faces:
                    await self._unassigned.assign(face, person_id, None)
            elif person != person_id:
                moved = person if await self._has_only(person, faces) else await self._split(person, faces)
                await self._changes.merge(person_id, moved)

    async def set_new_person(self, key: VisitKey) -> int:
        """The visit shows a person who was not known before; returns the person's id.

        Raises:
            NotFoundError: there is no such visit.
        """
        new: int | None = None
        by_person = await self._faces_by_person(key)
        for person, faces in by_person.items():
            if person is not None:
                new = person if await self._has_only(person, faces) else await self._split(person, faces)
                break
        if new is None:
            new = int((await self._ctx.persons.add(self._user, {}))["_id"])
        await self.set_person(key, new)
        return new

    async def remove(self, key: VisitKey) -> int:
        """The visit shows no face: remove its faces and pictures, which ends the visit; returns their number.

        Raises:
            NotFoundError: there is no such visit.
        """
        removal = FaceRemoval(self._ctx, self._user)
        faces = [face for part in (await self._faces_by_person(key)).values() for face in part]
        return sum([(await removal.remove(face))[0] for face in faces])

    async def review(self, key: VisitKey, reviewed: bool) -> None:
        """Mark the visit as reviewed now, or as not reviewed."""
        signed = {"reviewed_by": self._by, "reviewed_at": datetime.now(UTC)}
        update = {"$set": {"reviewed": True, **signed}}
        if not reviewed:
            update = {"$set": {"reviewed": False}, "$unset": dict.fromkeys(signed, "")}
        try:
            await self._ctx.database["visits"].update_one({"_id": key.document_id}, update)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.review") from error

    async def _faces_by_person(self, key: VisitKey) -> dict[int | None, list[Face]]:
        found: dict[int | None, list[Face]] = defaultdict(list)
        for face in await self._ctx.faces.find(self._user, faces_of(key)):
            found[face.get("person_id")].append(face)
        if not found:
            raise NotFoundError("there is no such visit")
        return found

    async def _has_only(self, person: int, faces: list[Face]) -> bool:
        """Whether these are all faces of the person."""
        return await self._ctx.faces.count(self._user, {"person_id": person}) == len(faces)

    async def _split(self, person: int, faces: list[Face]) -> int:
        change = await self._changes.split(person, [face["_id"] for face in faces])
        if change.other is None:
            raise RuntimeError("a split has no new person")
        return change.other
