"""Faces without a person get one when somebody better seen says who it was."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from pipeline.faces.facen import confidence
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadFilterError, BadValueError
from store.face import Face, facen_of, usable_facen, visit_of
from store.identity.removal import FaceRemoval

log = structlog.get_logger()

WAITING = ("withheld", "ambiguous")
AGAIN_DAYS = 30
"""Who was not recognised for so long is not looked at again."""
SAME_VISIT = 0.6
"""A track says that two faces are one person's; the facens only must not say the opposite."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a look at the withheld faces gave, in numbers."""

    looked_at: int
    found: int
    """Faces that have a person now."""


class Withheld:
    """Gives the faces that one user's cameras withheld to their persons."""

    def __init__(self, ctx: Context, user: UserArgument, threshold: float) -> None:
        """`threshold`: the confidence from which a face is a known person's."""
        self._ctx = ctx
        self._user = user
        self._threshold = threshold

    async def of_visit(self, known: Face) -> int:
        """Gives the other faces of a visit to the person that this one of its faces has; how many."""
        visit = visit_of(known)
        if visit is None:
            return 0
        query = {"cam_id": known["cam_id"], "detector_info.visit_id": visit, "person_id": None}
        count = 0
        for face in await self._ctx.faces.find(self._user, query):
            facen = usable_facen(face, self._ctx.faces.facen_size)
            if facen is None:
                continue
            alike = float(confidence(float(facen @ facen_of(known))))
            if alike >= SAME_VISIT:
                count += await self.give(face, known["person_id"], alike)
        return count

    async def look_again(self, now: datetime | None = None) -> Resolved:
        """Looks once more at the faces without a person; made for a periodic job."""
        since = (now or datetime.now(UTC)) - timedelta(days=AGAIN_DAYS)
        query = {
            "person_id": None,
            "person_outcome": {"$in": list(WAITING)},
            "timestamp": {"$gte": since},
            "cam_id": {"$type": "string"},
        }
        looked_at = found = 0
        async for face in FaceRemoval(self._ctx, self._user).faces(query):
            looked_at += 1
            try:
                found += await self._look_at(face)
            except BadFilterError:  # this says something about the server, not about the face
                raise
            except BadValueError as error:
                log.debug("a face without a person cannot be compared", face=face["_id"], reason=str(error))
        resolved = Resolved(looked_at, found)
        if found:
            log.info("faces without a person have one now", found=found, of=looked_at)
        return resolved

    async def _look_at(self, face: Face) -> bool:
        """Whether it has a person now."""
        gallery = self._ctx.persons.gallery_of(face["cam_id"])
        await self._ctx.galleries.ensure(self._user, gallery)
        match = await self._ctx.persons.resolve(self._user, face, gallery, self._threshold)
        return match.person_id is not None and await self.give(face, match.person_id, match.confidence)

    async def give(self, face: Face, person_id: int, alike: float | None) -> bool:
        """Gives a face that has no person to this one; False where somebody else was faster."""
        # The gallery first: a face without a person does no harm there, and the next look completes it.
        gallery = self._ctx.persons.gallery_of(face["cam_id"])
        if gallery not in face.galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
            await self._ctx.faces.complete_galleries(face, [gallery])
        seen = face.timestamp
        friend = seen is not None and await self._ctx.persons.as_of(seen).is_friend(
            self._user, person_id, face["cam_id"]
        )
        changes = {"person_id": person_id, "confidence": alike, "friend": friend, "person_outcome": "matched"}
        given = await self._ctx.faces.update_one(
            self._user, {"_id": face["_id"], "person_id": None}, {"$set": changes}
        )
        return given is not None
