"""The history of a person: visits, cameras, and the days that count for friendship."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime

from store.collections.persons import Person
from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError
from store.face import Face
from store.face_fields import visit_of
from store.identity.removal import FaceRemoval


@dataclass(slots=True)
class VisitSummary:
    """One visit at one camera."""

    cam_id: str
    visit_id: str
    first: datetime
    last: datetime
    faces: int
    thumbnail: str | None
    """Of the latest face."""


@dataclass(frozen=True, slots=True)
class CameraHistory:
    cam_id: str
    visits: int
    faces: int
    first: datetime
    last: datetime
    friend: bool
    days: list[date]
    """The calendar days, within the interval, on which this camera saw the person."""


@dataclass(frozen=True, slots=True)
class History:
    person: Person
    faces: int
    enrolled: int
    """Enrolled faces, which no camera recorded."""
    visits: list[VisitSummary]
    """The latest first."""
    cameras: list[CameraHistory]


async def person_history(ctx: Context, user: UserArgument, person_id: int) -> History:
    """The person's history. NotFoundError where the user has no such person."""
    person = await ctx.persons.find_one(user, {"_id": person_id})
    if person is None:
        raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
    visits: dict[tuple[str, str], VisitSummary] = {}
    faces = enrolled = 0
    async for face in _faces(ctx, user, person_id):
        faces += 1
        if not isinstance(face.get("cam_id"), str) or face.timestamp is None:
            enrolled += 1
        else:
            _add_face(visits, face, face.timestamp)
    ordered = sorted(visits.values(), key=lambda visit: visit.last, reverse=True)
    names = sorted({visit.cam_id for visit in ordered})
    cameras = [await _camera_history(ctx, user, person_id, name, ordered) for name in names]
    return History(person, faces, enrolled, ordered, cameras)


def _faces(ctx: Context, user: UserArgument, person_id: int) -> AsyncIterator[Face]:
    return FaceRemoval(ctx, user).faces({"person_id": person_id})


def _add_face(visits: dict[tuple[str, str], VisitSummary], face: Face, moment: datetime) -> None:
    visit_id = visit_of(face) or str(face["_id"])
    thumbnail = face.get("thumbnail")
    visit = visits.get((face["cam_id"], visit_id))
    if visit is None:
        visits[face["cam_id"], visit_id] = VisitSummary(
            face["cam_id"], visit_id, moment, moment, 1, thumbnail
        )
        return
    visit.faces += 1
    visit.first = min(visit.first, moment)
    if moment >= visit.last:
        visit.last, visit.thumbnail = moment, thumbnail


async def _camera_history(
    ctx: Context, user: UserArgument, person_id: int, cam_id: str, visits: list[VisitSummary]
) -> CameraHistory:
    here = [visit for visit in visits if visit.cam_id == cam_id]
    return CameraHistory(
        cam_id,
        len(here),
        sum(visit.faces for visit in here),
        min(visit.first for visit in here),
        max(visit.last for visit in here),
        await ctx.persons.is_friend(user, person_id, cam_id),
        await ctx.persons.friend_days(user, person_id, cam_id),
    )
