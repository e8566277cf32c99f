"""Stored faces and their pictures."""

import hashlib
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from daemon.http.api.ids import CameraFilter, FaceId, Id, PersonFilter
from daemon.http.api.paging import Cursor, Limit, Page, number_of, page_of
from daemon.http.api.problems import responses
from daemon.http.api.security import Seeing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.errors import HttpError
from store import Face, Image
from store.accounts.roles import Principal
from store.face_fields import visit_of

router = APIRouter(tags=["faces"])

PictureName = Literal["photo", "thumbnail", "normalized"]


class FaceResponse(BaseModel):
    """A stored face."""

    id: Id
    camera: str | None
    """Null for an enrolled picture."""
    timestamp: datetime | None
    person: Id | None
    friend: bool
    outcome: str | None
    """How the person was found, such as `matched`."""
    confidence: float | None
    visit: str | None
    quality: float | None
    """0 is perfect; worse is more negative."""
    bbox: tuple[float, float, float, float] | None
    """Left, top, right, bottom, in pixels of the photo."""
    galleries: list[str]
    meta: str | None
    pictures: dict[PictureName, str]
    """Paths of its pictures."""


def _face(stored: Face) -> FaceResponse:
    names: tuple[PictureName, ...] = ("photo", "thumbnail", "normalized")
    return FaceResponse(
        id=stored["_id"],
        camera=stored.get("cam_id"),
        timestamp=stored.timestamp,
        person=stored.get("person_id"),
        friend=stored.get("friend") is True,
        outcome=stored.get("person_outcome"),
        confidence=stored.get("confidence"),
        visit=visit_of(stored),
        quality=stored.get("score"),
        bbox=None if stored.bbox is None else tuple(stored.bbox),
        galleries=stored.galleries,
        meta=stored.get("meta"),
        pictures={name: f"/api/v1/faces/{stored.id}/{name}" for name in names if name in stored.urls},
    )


async def _visible(services: Services, principal: Principal, face_id: int) -> Face:
    found = await services.ctx.faces.find_one(principal.owner, {"_id": face_id})
    if found is None or not principal.sees(found.get("cam_id")):
        raise HttpError(404, "not_found", f"there is no face {face_id}")
    return found


@router.get("/faces", responses=responses(400))
async def list_faces(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    camera: CameraFilter = None,
    person: PersonFilter = None,
) -> Page[FaceResponse]:
    """The faces, the latest stored first."""
    filters: dict[str, object] = {}
    if (below := number_of(cursor)) is not None:
        filters["_id"] = {"$lt": below}
    if person is not None:
        filters["person_id"] = person
    if (cameras := principal.limited_to(camera)) is not None:
        filters["cam_id"] = {"$in": sorted(cameras)}
    await services.audit(principal).record(principal, "face.list", address=address_of(request))
    found = await services.ctx.faces.find(principal.owner, filters, sort=[("_id", -1)], limit=limit + 1)
    return page_of([_face(one) for one in found], limit, [one["_id"] for one in found])


@router.get("/faces/{face_id}", responses=responses(404))
async def get_face(
    services: ServicesDependency, principal: Seeing, request: Request, face_id: FaceId
) -> FaceResponse:
    found = await _visible(services, principal, face_id)
    await services.audit(principal).record(principal, "face.read", f"face/{face_id}", address_of(request))
    return _face(found)


@router.get(
    "/faces/{face_id}/{picture}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}}},
        304: {"description": "Not modified"},
        **responses(404),
    },
)
async def get_picture(
    services: ServicesDependency, principal: Seeing, request: Request, face_id: FaceId, picture: PictureName
) -> Response:
    """A picture of a face: the photo, the thumbnail, or the aligned face."""
    found = await _visible(services, principal, face_id)
    url = found.urls.get(picture)
    etag = f'"{hashlib.sha256((url or "").encode()).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "private, no-cache", "x-content-type-options": "nosniff"}
    if url and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    data = None if url is None else await services.ctx.uploads.get(url)
    if data is None:
        raise HttpError(404, "not_found", f"the face {face_id} has no such picture on this box")
    await services.audit(principal).record(
        principal, "picture.read", f"face/{face_id}", address_of(request), picture=picture
    )
    return Response(data, media_type=Image(data).content_type, headers=headers)
