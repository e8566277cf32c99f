"""Watch lists, watch rules, and the visits that match them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from daemon.events.messages import MessageBuilder
from daemon.events.payload import EventPayload
from daemon.events.rules.engine import RULES
from daemon.events.rules.settings import RuleSettings, WatchListSettings
from daemon.http.api.paging import Limit
from daemon.http.api.problems import responses
from daemon.http.api.security import Changing, Managing, Seeing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.errors import HttpError
from store.accounts.roles import Principal
from store.collections.watch_lists import WatchLists
from store.mongo.named_documents import NamedDocuments
from store.outbox.events import Outbox
from store.queries.people import person_summary

router = APIRouter(tags=["watch"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
PersonId = Annotated[int, Path(ge=0, lt=2**63)]
IsOpen = Annotated[bool, Query(alias="open")]
MatchId = Annotated[str, Path(max_length=64)]


class WatchListResponse(WatchListSettings):
    persons: list[int]
    """Ids of the persons on the list."""


class RuleResponse(RuleSettings):
    source: str
    """`settings` or `added`."""


class Match(BaseModel):
    event: EventPayload
    acknowledged_by: str | None


@router.get("/lists", responses=responses())
async def list_lists(services: ServicesDependency, principal: Changing) -> list[WatchListResponse]:
    """The watch lists, by name."""
    lists = _lists(services, principal)
    return [
        WatchListResponse(
            **asdict(one), persons=await _visible(services, principal, await lists.persons(name))
        )
        for name, one in (await lists.all()).items()
    ]


@router.post("/lists", status_code=201, responses=responses(409))
async def create_list(
    services: ServicesDependency, principal: Changing, request: Request, new: WatchListSettings
) -> WatchListResponse:
    await _record(services, principal, request, "list.create", f"list/{new.name}")
    await _lists(services, principal).create(new.watch_list)
    return WatchListResponse(**dict(new), persons=[])


@router.delete("/lists/{name}", status_code=204, responses=responses(404))
async def drop_list(
    services: ServicesDependency, principal: Changing, request: Request, name: Name
) -> Response:
    """Drop a list; its persons stay."""
    await _record(services, principal, request, "list.drop", f"list/{name}")
    await _lists(services, principal).drop(name)
    return Response(status_code=204)


@router.put("/lists/{name}/persons/{person_id}", status_code=204, responses=responses(404))
async def put_on_list(
    services: ServicesDependency, principal: Changing, request: Request, name: Name, person_id: PersonId
) -> Response:
    await _check_visible(services, principal, person_id)
    await _record(services, principal, request, "list.put_on", f"person/{person_id}", list=name)
    await _lists(services, principal).put_on(name, person_id)
    return Response(status_code=204)


@router.delete("/lists/{name}/persons/{person_id}", status_code=204, responses=responses(404))
async def take_off_list(
    services: ServicesDependency, principal: Changing, request: Request, name: Name, person_id: PersonId
) -> Response:
    await _check_visible(services, principal, person_id)
    await _record(services, principal, request, "list.take_off", f"person/{person_id}", list=name)
    await _lists(services, principal).take_off(name, person_id)
    return Response(status_code=204)


@router.get("/rules", responses=responses())
async def list_rules(services: ServicesDependency, principal: Changing) -> list[RuleResponse]:
    """The rules of the settings, and those that were added."""
    stored = await _rules(services, principal).all()
    of_settings = {rule.name: rule for rule in services.alerts.rules}
    found = [
        RuleResponse.model_validate({**content, "name": name, "source": "added"})
        for name, content in stored.items()
        if name not in of_settings
    ]
    return found + [RuleResponse(**dict(rule), source="settings") for rule in of_settings.values()]


@router.post("/rules", status_code=201, responses=responses(404, 409))
async def add_rule(
    services: ServicesDependency, principal: Managing, request: Request, new: RuleSettings
) -> RuleResponse:
    """Add a rule. It applies from the next visit on."""
    if new.name in {rule.name for rule in services.alerts.rules}:
        raise HttpError(409, "conflict", f"the settings have a rule {new.name}: choose another name")
    if new.list:
        await _lists(services, principal).get(new.list)
    await _record(services, principal, request, "rule.add", f"rule/{new.name}")
    await _rules(services, principal).add(new.name, new.model_dump(mode="json", exclude={"name"}))
    return RuleResponse(**dict(new), source="added")


@router.delete("/rules/{name}", status_code=204, responses=responses(404))
async def remove_rule(
    services: ServicesDependency, principal: Managing, request: Request, name: Name
) -> Response:
    """Remove a rule that was added; its matches stay."""
    await _record(services, principal, request, "rule.remove", f"rule/{name}")
    if not await _rules(services, principal).remove(name):
        raise HttpError(404, "not_found", f"there is no added rule {name}")
    return Response(status_code=204)


@router.get("/matches", responses=responses())
async def list_matches(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    limit: Limit = 50,
    is_open: IsOpen = False,
) -> list[Match]:
    """Visits that matched a rule in the last 7 days, the latest first; `open`: not acknowledged."""
    await _record(services, principal, request, "match.list", "")
    found = await _outbox(services, principal).matches(
        limit, unacknowledged=is_open, cameras=principal.cameras
    )
    builder = MessageBuilder(services.ctx, principal.owner, principal.cameras)
    built = [(await builder.build(event), event.facts.get("acknowledged_by")) for event in found]
    return [Match(event=payload, acknowledged_by=by) for payload, by in built if payload is not None]


@router.post("/matches/{match_id}/acknowledge", status_code=204, responses=responses(404))
async def acknowledge_match(
    services: ServicesDependency, principal: Changing, request: Request, match_id: MatchId
) -> Response:
    outbox = _outbox(services, principal)
    event = await outbox.get(match_id)
    if (
        event is None
        or not principal.sees(event.cam_id)
        or not await outbox.acknowledge(match_id, principal.name)
    ):
        raise HttpError(404, "not_found", f"there is no match {match_id}")
    await _record(services, principal, request, "match.acknowledge", f"event/{match_id}")
    return Response(status_code=204)


async def _visible(services: Services, principal: Principal, persons: list[int]) -> list[int]:
    if principal.cameras is None:
        return persons
    found = [await person_summary(services.ctx, principal.owner, one, principal.cameras) for one in persons]
    return [one.id for one in found if one is not None]


async def _check_visible(services: Services, principal: Principal, person_id: int) -> None:
    if not await _visible(services, principal, [person_id]):
        raise HttpError(404, "not_found", f"there is no person {person_id}")


async def _record(
    services: Services, principal: Principal, request: Request, action: str, object_name: str, **details: str
) -> None:
    await services.audit(principal).record(
        principal, action, object_name, address=address_of(request), **details
    )


def _lists(services: Services, principal: Principal) -> WatchLists:
    return WatchLists(services.ctx.database, principal.owner)


def _rules(services: Services, principal: Principal) -> NamedDocuments:
    return NamedDocuments(services.ctx.database, RULES, principal.owner)


def _outbox(services: Services, principal: Principal) -> Outbox:
    return Outbox(services.ctx.database, principal.owner, services.ctx.box)
