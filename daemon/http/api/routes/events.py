"""Events: those that are kept, and new ones as they happen (server-sent events)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from daemon.events.messages import MessageBuilder
from daemon.events.payload import EventPayload
from daemon.http.api.paging import Cursor, Limit, Page, number_of, page_of
from daemon.http.api.problems import responses
from daemon.http.api.security import Seeing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.errors import HttpError
from pipeline.base.background import supervised, wait_at_most
from store import StoreError
from store.accounts.roles import Principal
from store.mongo.change_stream import watch
from store.outbox.events import EVENTS, Outbox

router = APIRouter(tags=["events"])

STREAM_SECONDS = 600.0
"""A stream ends after this time; the client connects again, and its credential is checked again."""
HEARTBEAT_SECONDS = 15.0
"""Maximum silence: a proxy or a client that is gone is noticed."""
POLL_SECONDS = 2.0
"""Maximum delay with a MongoDB that has no change streams."""
AT_ONCE = 200
MAX_STREAMS = 32

_open_streams: set[object] = set()


@router.get("/events", responses=responses(400))
async def list_events(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    event_type: Annotated[str | None, Query(alias="type", max_length=40)] = None,
) -> Page[EventPayload]:
    """The events of the last 7 days, the latest first. Those of erased persons are gone."""
    await services.audit(principal).record(principal, "event.list", address=address_of(request))
    outbox, builder = _outbox(services, principal), _builder(services, principal)
    found = await outbox.latest(limit + 1, number_of(cursor), event_type, principal.cameras)
    page = page_of(found, limit, [event.number for event in found])
    built = [await builder.build(event) for event in page.items]
    return Page(items=[one for one in built if one is not None], next=page.next)


@router.get("/events/stream", responses=responses(503), response_class=StreamingResponse)
async def stream_events(
    services: ServicesDependency,
    principal: Seeing,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """New events as they happen, in the format of `EventSource`; with `Last-Event-ID` those since that one.

    Each has the event's id, its type, and the message as JSON. The stream ends after ten minutes;
    the client then connects again.
    """
    if len(_open_streams) >= MAX_STREAMS:
        raise HttpError(503, "busy", "too many streams are open; try again later", {"retry-after": "30"})
    outbox = _outbox(services, principal)
    seen = None if last_event_id is None else await outbox.get(last_event_id)
    number = await outbox.last_number() if seen is None else seen.number
    await services.audit(principal).record(principal, "event.stream", address=address_of(request))
    return StreamingResponse(
        _stream(services, principal, number),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _stream(services: Services, principal: Principal, number: int) -> AsyncIterator[str]:
    outbox, builder = _outbox(services, principal), _builder(services, principal)
    changed, this, end = asyncio.Event(), object(), time.monotonic() + STREAM_SECONDS
    watching = supervised(watch(services.ctx.database[EVENTS], changed.set), "events for a client")
    _open_streams.add(this)
    said = time.monotonic()
    try:
        yield ": connected\n\n"
        while time.monotonic() < end:
            changed.clear()
            while events := await outbox.following(number, AT_ONCE):
                for event in events:
                    number = event.number
                    if not _is_visible(principal, event.cam_id):
                        continue
                    if (payload := await builder.build(event)) is not None:
                        said = time.monotonic()
                        yield _message(payload)
            if time.monotonic() - said > HEARTBEAT_SECONDS:
                said = time.monotonic()
                yield ": alive\n\n"
            await wait_at_most(changed, POLL_SECONDS)
    except StoreError:
        return  # the client connects again, with the id of the last event that it has
    finally:
        _open_streams.discard(this)
        watching.cancel()


def _message(payload: EventPayload) -> str:
    data = json.dumps(payload.model_dump(mode="json"), ensure_ascii=False)
    return f"id: {payload.id}\nevent: {payload.type}\ndata: {data}\n\n"


def _is_visible(principal: Principal, cam_id: str | None) -> bool:
    """Events without a camera (corrections, the box, the store) are for those who may see all cameras."""
    return principal.cameras is None or (cam_id is not None and principal.sees(cam_id))


def _outbox(services: Services, principal: Principal) -> Outbox:
    return Outbox(services.ctx.database, principal.owner, services.ctx.box)


def _builder(services: Services, principal: Principal) -> MessageBuilder:
    return MessageBuilder(services.ctx, principal.owner, principal.cameras)
