"""Visits: lists, the timeline, one visit, and who else was there."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime

from daemon.http.api.ids import CameraFilter, PersonFilter
from daemon.http.api.paging import Cursor, Limit, Page, page_of, position_of
from daemon.http.api.problems import responses
from daemon.http.api.security import Changing, Seeing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.api.visit_models import VisitChanges, VisitCount, VisitResponse, visit_response
from daemon.http.errors import HttpError
from store.accounts.roles import Principal
from store.identity.visit_corrections import VisitCorrections
from store.queries.visits import (
    Visit,
    VisitFilter,
    VisitPosition,
    co_visible_visits,
    count_visits,
    find_visit,
    list_visits,
    visits_elsewhere,
)

router = APIRouter(tags=["visits"])

VisitId = Annotated[str, Path(max_length=200)]
Since = Annotated[AwareDatetime | None, Query(description="Visits that begin at this time or later.")]
Until = Annotated[AwareDatetime | None, Query(description="Visits that begin before this time.")]
Score = Annotated[float | None, Query(ge=-1000, le=1000, allow_inf_nan=False)]
MAX_PERIODS = 1000


def _filters(
    principal: Seeing,
    camera: CameraFilter = None,
    person: PersonFilter = None,
    since: Since = None,
    until: Until = None,
    named: Annotated[bool | None, Query(description="Whether the person has a name.")] = None,
    unknown: Annotated[
        bool | None, Query(description="Whether there is no person, or one without a name.")
    ] = None,
    friend: bool | None = None,
    outcome: Literal["matched", "created", "ambiguous", "withheld"] | None = None,
    min_quality: Score = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
    reviewed: bool | None = None,
) -> VisitFilter:
    """The filters of the request, limited to what the client may see."""
    if named is not None and named is unknown:
        raise HttpError(400, "bad_value", "named and unknown: no visit has both; give one of them")
    return VisitFilter(
        cameras=principal.limited_to(camera),
        person=person,
        since=_bounded(since),
        until=_bounded(until),
        named=named if unknown is None else not unknown,
        friend=friend,
        outcome=outcome,
        min_quality=min_quality,
        min_confidence=min_confidence,
        reviewed=reviewed,
    )


def _bounded(moment: datetime | None) -> datetime | None:
    """The time in UTC; HttpError 400 for one outside the years 1 to 9999 of UTC."""
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise HttpError(400, "bad_value", "a time lies outside the years 1 to 9999 of UTC") from error


Filters = Annotated[VisitFilter, Depends(_filters)]


async def _visible(services: Services, principal: Principal, visit_id: str) -> Visit:
    found = await find_visit(services.ctx, principal.owner, visit_id, principal.cameras)
    if found is None:
        raise HttpError(404, "not_found", "there is no such visit")
    return found


@router.get("/visits", responses=responses(400))
async def get_visits(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    filters: Filters,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[VisitResponse]:
    """The visits, the latest begun first."""
    await services.audit(principal).record(principal, "visit.list", address=address_of(request))
    found = await list_visits(
        services.ctx, principal.owner, filters, limit=limit + 1, after=_position(cursor)
    )
    places = [f"{one.start.isoformat()} {one.key.document_id}" for one in found]
    return page_of([visit_response(one) for one in found], limit, places)


def _position(cursor: str | None) -> VisitPosition | None:
    if (text := position_of(cursor)) is None:
        return None
    start, _, document_id = text.partition(" ")
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise HttpError(400, "bad_cursor", "cursor: not one that this list returned") from error
    if moment.tzinfo is None or not document_id or "\0" in document_id:
        raise HttpError(400, "bad_cursor", "cursor: not one that this list returned")
    return VisitPosition(moment, document_id)


@router.get("/visits/timeline", responses=responses(400))
async def get_timeline(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    filters: Filters,
    per: Literal["hour", "day", "week", "month"] = "day",
    zone: Annotated[str, Query(max_length=64, description="Time zone whose days count.")] = "UTC",
) -> list[VisitCount]:
    """The numbers of visits in each period, the latest first; empty periods are left out.

    1,000 periods at most.
    """
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError) as error:
        raise HttpError(400, "bad_value", "zone: expected the name of a time zone, such as UTC") from error
    await services.audit(principal).record(principal, "visit.count", address=address_of(request))
    found = await count_visits(services.ctx, principal.owner, filters, per, zone, MAX_PERIODS)
    return [VisitCount(start=one.start, visits=one.visits, persons=one.persons) for one in found]


@router.get("/visits/{visit_id}", responses=responses(404))
async def get_visit(
    services: ServicesDependency, principal: Seeing, request: Request, visit_id: VisitId
) -> VisitResponse:
    found = await _visible(services, principal, visit_id)
    await services.audit(principal).record(principal, "visit.read", f"visit/{found.id}", address_of(request))
    return visit_response(found)


@router.patch(
    "/visits/{visit_id}",
    response_model=VisitResponse,
    responses={204: {"description": "The visit had no face, and is gone"}, **responses(400, 404, 409)},
)
async def change_visit(
    services: ServicesDependency,
    principal: Changing,
    request: Request,
    visit_id: VisitId,
    changes: VisitChanges,
) -> VisitResponse | Response:
    """Mark a visit as reviewed, or correct whom it shows. Corrections count as a review.

    Corrections of persons can be undone, `not_a_face` cannot.
    """
    visit = await _visible(services, principal, visit_id)
    given = changes.model_dump(exclude_none=True)
    corrections = sorted(given.keys() - {"reviewed"})
    if len(corrections) > 1:
        raise HttpError(400, "bad_value", f"{' and '.join(corrections)}: give one of them")
    audit = services.audit(principal)
    await audit.record(
        principal, "visit.change", f"visit/{visit.id}", address_of(request), fields=", ".join(sorted(given))
    )
    correct = VisitCorrections(services.ctx, principal.owner, principal.name)
    if changes.not_a_face:
        await correct.remove(visit.key)
        return Response(status_code=204)
    if changes.person is not None:
        await correct.set_person(visit.key, changes.person)
    elif changes.new_person:
        await correct.set_new_person(visit.key)
    if (reviewed := bool(corrections) or changes.reviewed) is not None:
        await correct.review(visit.key, reviewed)
    return visit_response(await _visible(services, principal, visit_id))


@router.get("/visits/{visit_id}/co-visible", responses=responses(404))
async def get_co_visible(
    services: ServicesDependency, principal: Seeing, request: Request, visit_id: VisitId
) -> list[VisitResponse]:
    """The visits of other people in the same frames; 100 at most."""
    visit = await _visible(services, principal, visit_id)
    await services.audit(principal).record(
        principal, "visit.co_visible", f"visit/{visit.id}", address_of(request)
    )
    return [visit_response(one) for one in await co_visible_visits(services.ctx, principal.owner, visit)]


@router.get("/visits/{visit_id}/elsewhere", responses=responses(404))
async def get_elsewhere(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    visit_id: VisitId,
    minutes: Annotated[int, Query(ge=1, le=1440)] = 5,
) -> list[VisitResponse]:
    """The person's visits at other cameras, within some minutes before and after; 100 at most."""
    visit = await _visible(services, principal, visit_id)
    await services.audit(principal).record(
        principal, "visit.elsewhere", f"visit/{visit.id}", address_of(request)
    )
    within = timedelta(minutes=minutes)
    found = await visits_elsewhere(services.ctx, principal.owner, visit, principal.cameras, within)
    return [visit_response(one) for one in found]
