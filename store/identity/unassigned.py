"""Assigns faces without a person once a better face of the same person is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from pipeline.faces.facen import confidence
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadFilterError, BadValueError
from store.face import Face
from store.face_fields import facen_of, usable_facen, visit_of
from store.identity.removal import FaceRemoval
from store.recognition.thresholds import Threshold

log = structlog.get_logger()

WAITING = ("withheld", "ambiguous")
MAX_AGE_DAYS = 30
"""Maximum age of faces that are compared again."""
SAME_VISIT_CONFIDENCE = 0.6
"""Minimum confidence within one visit, where tracking is evidence that both faces are one person's."""


@dataclass(frozen=True, slots=True)
class Reassessed:
    """Counts of a reassessment."""

    examined: int
    assigned: int


class UnassignedFaces:
    """Assigns the faces of one user that recognition withheld or found ambiguous."""

    def __init__(self, ctx: Context, user: UserArgument, threshold: Threshold) -> None:
        """`threshold`: minimum confidence at which a face belongs to a known person."""
        self._ctx = ctx
        self._user = user
        self._threshold = threshold

    async def assign_visit(self, known: Face) -> int:
        """Assign the other faces of a face's visit to the same person; returns the number assigned."""
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
            if alike >= SAME_VISIT_CONFIDENCE:
                count += await self.assign(face, known["person_id"], alike)
        return count

    async def reassess(self, now: datetime | None = None) -> Reassessed:
        """Compare recent faces without a person again. For a periodic job."""
        since = (now or datetime.now(UTC)) - timedelta(days=MAX_AGE_DAYS)
        query = {
            "person_id": None,
            "person_outcome": {"$in": list(WAITING)},
            "timestamp": {"$gte": since},
            "cam_id": {"$type": "string"},
        }
        examined = assigned = 0
        async for face in FaceRemoval(self._ctx, self._user).faces(query):
            examined += 1
            try:
                assigned += await self._reassess_face(face)
            except BadFilterError:  # would occur for every face
                raise
            except BadValueError as error:
                log.debug("a face without a person cannot be compared", face=face["_id"], reason=str(error))
        if assigned:
            log.info("assigned faces that had no person", assigned=assigned, examined=examined)
        return Reassessed(examined, assigned)

    async def _reassess_face(self, face: Face) -> bool:
        """Returns whether the face was assigned."""
        gallery = self._ctx.persons.gallery_of(face["cam_id"])
        await self._ctx.galleries.ensure(self._user, gallery)
        threshold = await self._ctx.persons.threshold_for(self._user, gallery, self._threshold)
        match = await self._ctx.persons.resolve(self._user, face, gallery, threshold)
        return match.person_id is not None and await self.assign(face, match.person_id, match.confidence)

    async def assign(self, face: Face, person_id: int, alike: float | None) -> bool:
        """Assign a face without a person to this person; False if it was assigned or removed meanwhile."""
        # The gallery first: after a crash in between, the face still has no person, and the next run
        # completes it.
        gallery = self._ctx.persons.gallery_of(face["cam_id"])
        if gallery not in face.galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
            await self._ctx.faces.complete_galleries(face, [gallery])
        seen = face.timestamp
        friend = seen is not None and await self._ctx.persons.as_of(seen).is_friend(
            self._user, person_id, face["cam_id"]
        )
        changes = {"person_id": person_id, "confidence": alike, "friend": friend, "person_outcome": "matched"}
        updated = await self._ctx.faces.update_one(
            self._user,
            {"_id": face["_id"], "person_id": None},
            {"$set": changes, "$unset": {"person_reason": ""}},
        )
        return updated is not None
