"""Persons and their history."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from daemon.http.api.ids import Id, PersonId
from daemon.http.api.paging import Cursor, Limit, Page, number_of, page_of
from daemon.http.api.problems import responses
from daemon.http.api.security import Changing, Seeing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.errors import HttpError
from store.accounts.roles import Principal
from store.identity.changes import PersonChanges
from store.queries.people import PersonSummary, list_people, person_summary
from store.queries.person_history import person_history

router = APIRouter(tags=["persons"])


class PersonResponse(BaseModel):
    """A person, as far as the cameras that the client may see have seen them."""

    id: Id
    name: str | None
    created: datetime | None
    faces: int
    """Number of stored faces."""
    first_seen: datetime | None
    last_seen: datetime | None
    last_camera: str | None
    picture: str | None
    """Path of the latest thumbnail."""


class NewName(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]


class Visit(BaseModel):
    """One visit at one camera."""

    camera: str
    id: str
    first: datetime
    last: datetime
    faces: int


class CameraVisits(BaseModel):
    """What one camera has seen of a person."""

    camera: str
    visits: int
    faces: int
    first: datetime
    last: datetime
    friend: bool
    days: list[date]
    """The calendar days within the friend interval on which this camera has seen the person."""


class PersonHistory(BaseModel):
    person: PersonResponse
    cameras: list[CameraVisits]
    visits: list[Visit]
    """The latest first, 500 at most."""


MAX_VISITS = 500


def _person(summary: PersonSummary) -> PersonResponse:
    fields = asdict(summary)
    face, _ = fields.pop("last_face"), fields.pop("last_thumbnail")
    return PersonResponse(picture=None if face is None else f"/api/v1/faces/{face}/thumbnail", **fields)


async def _seen(services: Services, principal: Principal, person_id: int) -> PersonSummary:
    found = await person_summary(services.ctx, principal.owner, person_id, principal.cameras)
    if found is None:
        raise HttpError(404, "not_found", f"there is no person {person_id}")
    return found


@router.get("/persons", responses=responses(400))
async def list_persons(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    named: bool | None = None,
    name: Annotated[str | None, Query(max_length=200, description="Part of the name, in any case.")] = None,
) -> Page[PersonResponse]:
    """The persons, the latest created first."""
    await services.audit(principal).record(principal, "person.list", address=address_of(request))
    found = await list_people(
        services.ctx,
        principal.owner,
        limit=limit + 1,
        below=number_of(cursor),
        cameras=principal.cameras,
        named=named,
        name=name,
    )
    return page_of([_person(one) for one in found], limit, [one.id for one in found])


@router.get("/persons/{person_id}", responses=responses(404))
async def get_person(
    services: ServicesDependency, principal: Seeing, request: Request, person_id: PersonId
) -> PersonResponse:
    found = await _seen(services, principal, person_id)
    await services.audit(principal).record(
        principal, "person.read", f"person/{person_id}", address_of(request)
    )
    return _person(found)


@router.patch("/persons/{person_id}", responses=responses(400, 404))
async def change_person(
    services: ServicesDependency,
    principal: Changing,
    request: Request,
    person_id: PersonId,
    new: NewName,
) -> PersonResponse:
    """Name a person; `facend persons undo` undoes it."""
    await _seen(services, principal, person_id)
    await services.audit(principal).record(
        principal, "person.rename", f"person/{person_id}", address_of(request)
    )
    ctx = services.ctx
    await PersonChanges(ctx, principal.owner, ctx.persons.rules.references).rename(person_id, new.name)
    return _person(await _seen(services, principal, person_id))


@router.get("/persons/{person_id}/history", responses=responses(404))
async def get_history(
    services: ServicesDependency, principal: Seeing, request: Request, person_id: PersonId
) -> PersonHistory:
    """The person's visits, and at which cameras the person is a friend, and why."""
    summary = await _seen(services, principal, person_id)
    await services.audit(principal).record(
        principal, "person.history", f"person/{person_id}", address_of(request)
    )
    known = await person_history(services.ctx, principal.owner, person_id)
    return PersonHistory(
        person=_person(summary),
        cameras=[
            CameraVisits(
                camera=one.cam_id,
                visits=one.visits,
                faces=one.faces,
                first=one.first,
                last=one.last,
                friend=one.friend,
                days=one.days,
            )
            for one in known.cameras
            if principal.sees(one.cam_id)
        ],
        visits=[
            Visit(camera=one.cam_id, id=one.visit_id, first=one.first, last=one.last, faces=one.faces)
            for one in known.visits
            if principal.sees(one.cam_id)
        ][:MAX_VISITS],
    )
