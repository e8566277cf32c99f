"""Events, watch lists, rules and webhooks over the HTTP API: what they do, and who may use them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from daemon.config.stored_webhooks import AddedWebhooks
from daemon.events.rules.settings import RuleSettings
from daemon.events.sinks.settings import WebhookSettings
from daemon.http.api.app import api_route
from daemon.http.api.services import AlertSources, ApiSources
from daemon.http.server import application, serving
from daemon.runtime.metrics import Metrics
from store import Context, User
from store.accounts.audit import AuditLog
from store.accounts.roles import Role
from store.outbox.events import NewEvent, Outbox
from tests.api import START, Client, report, visitor, with_token
from tests.health import Healthy
from tests.receivers import WebhookReceiver, receiving

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@asynccontextmanager
async def api(ctx: Context, user: User, alerts: AlertSources) -> AsyncIterator[httpx.AsyncClient]:
    sources = ApiSources(lambda: (ctx, user["_id"]), report, alerts)
    app = application(Metrics(version="1", pack="p", runtime="r").registry, Healthy(), [api_route(sources)])
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture
async def http(
    ctx: Context, user: User, tmp_path: Path, receiver: WebhookReceiver
) -> AsyncIterator[httpx.AsyncClient]:
    alerts = AlertSources(
        (WebhookSettings.model_validate({"name": "alarm", "url": receiver.url, "secret": KEY}),),
        (RuleSettings(name="night", who="unnamed", outside="07:00-19:00"),),
        AddedWebhooks(tmp_path),
        add_webhooks=True,
    )
    async with api(ctx, user, alerts) as client:
        yield client


async def happen(ctx: Context, user: User, *visits: tuple[str, int], **facts: Any) -> None:
    """A visit at each camera by each person."""
    facts = {"started_at": START, "outcome": "matched", "confidence": 0.9, **facts}
    kind = "rule.matched" if "rule" in facts else "visit.started"
    events = [
        NewEvent(kind, f"{cam_id} {person} {kind}", START, cam_id, f"{cam_id}-{person}", person, facts)
        for cam_id, person in visits
    ]
    await Outbox(ctx.database, user["_id"], ctx.box).add(events)


async def messages(client: Client, number: int, **headers: str) -> list[dict[str, Any]]:
    """The first messages of a live stream."""
    found: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(20),
        client.http.stream("GET", "/api/v1/events/stream", headers={**client.headers, **headers}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == number:
                    break
    return found


async def test_events_are_listed_and_streamed(ctx: Context, admin: Client, user: User) -> None:
    """The list has the latest first, by pages; a stream continues after the last event that a client has."""
    person, _ = await visitor(ctx, user, 1, "door")
    await happen(ctx, user, ("door", person), ("yard", person))
    await Outbox(ctx.database, user["_id"], ctx.box).add([NewEvent("box.started", "1", START)])
    page = await admin("GET", "/events?limit=2")
    assert [one["type"] for one in page["items"]] == ["box.started", "visit.started"]
    rest = await admin("GET", f"/events?limit=2&cursor={page['next']}")
    assert [one["camera"] for one in rest["items"]] == ["door"] and rest["next"] is None
    assert len((await admin("GET", "/events?type=visit.started"))["items"]) == 2
    first = rest["items"][0]
    assert [one["camera"] for one in await messages(admin, 2, **{"Last-Event-ID": first["id"]})] == [
        "yard",
        None,
    ]
    streaming = asyncio.create_task(messages(admin, 1))
    await asyncio.sleep(0.2)
    for number in range(100):  # the stream may not be open yet
        await happen(ctx, user, (f"cam{number}", person))
        if (await asyncio.wait({streaming}, timeout=0.1))[0]:
            break
    (live,) = await streaming
    assert live["person"]["name"] == "visitor 1"


async def test_a_viewer_gets_the_events_of_its_cameras(
    ctx: Context, http: httpx.AsyncClient, user: User
) -> None:
    """Neither list, stream nor matches show another camera, a correction, or what another camera has seen."""
    person, _ = await visitor(ctx, user, 1, "yard")
    outbox = Outbox(ctx.database, user["_id"], ctx.box)
    await outbox.add([NewEvent("person.renamed", "0", START, person_id=person)])
    (start,) = await outbox.latest(1)
    await happen(ctx, user, ("yard", person), ("door", person))
    await happen(ctx, user, ("yard", person), ("door", person), rule="any")
    viewer = await with_token(ctx, http, user, Role.VIEWER, "door")
    listed = (await viewer("GET", "/events"))["items"]
    streamed = await messages(viewer, 2, **{"Last-Event-ID": start.id})
    matched = [one["event"] for one in await viewer("GET", "/matches")]
    for events in (listed, streamed, matched):
        assert {one["camera"] for one in events} == {"door"}
        assert all(one["person"]["first_seen"] is None for one in events)
        assert all(one["person"]["previous_visit_ended_at"] is None for one in events)
    assert len(matched) == 1 and len(listed) == 2


async def test_matches_are_acknowledged(ctx: Context, admin: Client, user: User) -> None:
    """By whom is kept; unknown ids, and events that are no match, are not found."""
    person, _ = await visitor(ctx, user, 1, "door")
    await happen(ctx, user, ("door", person), rule="night")
    (match,) = await admin("GET", "/matches?open=true")
    assert (match["event"]["rule"], match["acknowledged_by"]) == ("night", None)
    await admin("POST", f"/matches/{match['event']['id']}/acknowledge", 204)
    assert await admin("GET", "/matches?open=true") == []
    assert (await admin("GET", "/matches"))[0]["acknowledged_by"] == "owner"
    await admin("POST", "/matches/evt_0/acknowledge", 404)


async def test_lists_and_rules(ctx: Context, admin: Client, user: User) -> None:
    """Lists have persons; rules of the settings cannot be changed, and mistakes are named."""
    person, _ = await visitor(ctx, user, 1, "door")
    await admin("POST", "/lists", 201, json={"name": "staff", "min_confidence": 0.8})
    await admin("POST", "/lists", 409, json={"name": "staff"})
    await admin("PUT", f"/lists/staff/persons/{person}", 204)
    await admin("PUT", "/lists/staff/persons/999", 404)
    (staff,) = await admin("GET", "/lists")
    assert (staff["persons"], staff["min_confidence"]) == ([person], 0.8)
    await admin("POST", "/rules", 404, json={"name": "guests", "list": "guests"})
    await admin("POST", "/rules", 422, json={"name": "empty"})
    await admin("POST", "/rules", 409, json={"name": "night", "who": "new"})
    await admin("POST", "/rules", 201, json={"name": "staff", "list": "staff"})
    rules = await admin("GET", "/rules")
    assert [(one["name"], one["source"]) for one in rules] == [("staff", "added"), ("night", "settings")]
    await admin("DELETE", "/rules/staff", 204)
    await admin("DELETE", "/rules/night", 404)
    await admin("DELETE", f"/lists/staff/persons/{person}", 204)
    await admin("DELETE", "/lists/staff", 204)
    assert await admin("GET", "/lists") == []


async def test_webhooks(ctx: Context, admin: Client, user: User, receiver: WebhookReceiver) -> None:
    """Added, tested, its deliveries repeated, removed; no answer shows a URL's path or a secret again."""
    made = await admin("POST", "/webhooks", 201, json={"name": "late", "url": receiver.url})
    await admin("POST", "/webhooks", 409, json={"name": "late", "url": receiver.url})
    problem = await admin("POST", "/webhooks", 400, json={"name": "x", "url": "ftp://h/hidden"})
    assert "url: expected http" in problem["detail"] and "hidden" not in problem["detail"]
    assert await admin("POST", "/webhooks/late/test") == {"result": "delivered", "reason": ""}
    assert len(receiver.got) == 1
    listed = await admin("GET", "/webhooks")
    assert [(one["name"], one["source"]) for one in listed] == [("late", "added"), ("alarm", "settings")]
    assert made["secret"] not in json.dumps(listed) and "secret-path" not in json.dumps(listed)
    person, _ = await visitor(ctx, user, 1, "door")
    await happen(ctx, user, ("door", person))
    (event,) = (await admin("GET", "/events"))["items"]
    assert await admin("POST", "/webhooks/late/resend", json={"event_id": event["id"]}) == {"number": 1}
    (waiting,) = await admin("GET", "/webhooks/late/deliveries?state=pending")
    assert waiting["event_id"] == event["id"]
    await admin("POST", "/webhooks/late/resend", 400, json={})
    await admin("POST", "/webhooks/late/resend", 404, json={"event_id": "evt_0"})
    await admin("POST", "/webhooks/late/enable", 409)
    await admin("DELETE", "/webhooks/late", 204)
    await admin("DELETE", "/webhooks/late", 404)
    await admin("DELETE", "/webhooks/alarm", 409)


async def test_webhooks_are_added_only_where_that_is_allowed(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """By default no client makes this box send requests to an address of its choice."""
    async with api(ctx, user, AlertSources(added=AddedWebhooks(tmp_path))) as client:
        admin = Client(client, Authorization=f"Token {user['token']}")
        problem = await admin("POST", "/webhooks", 403, json={"name": "x", "url": "http://127.0.0.1/"})
        assert "http.add_webhooks" in problem["detail"]
        assert await admin("GET", "/webhooks") == []


async def test_roles_and_the_audit_log(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """Viewers see events, operators change lists, administrators webhooks and rules; changes are recorded."""
    operator = await with_token(ctx, http, user, Role.OPERATOR)
    viewer = await with_token(ctx, http, user, Role.VIEWER)
    auditor = await with_token(ctx, http, user, Role.AUDITOR)
    await auditor("GET", "/events", 403)
    await auditor("GET", "/events/stream", 403)
    await viewer("GET", "/events")
    await viewer("GET", "/lists", 403)
    await viewer("POST", "/lists", 403, json={"name": "staff"})
    await viewer("POST", "/matches/evt_0/acknowledge", 403)
    await operator("POST", "/lists", 201, json={"name": "staff"})
    await operator("POST", "/rules", 403, json={"name": "rule", "who": "new"})
    await operator("GET", "/webhooks", 403)
    await Client(http)("GET", "/events/stream", 401)
    actions = [one.action for one in await AuditLog(ctx.database, user["_id"]).find(limit=10)]
    assert "list.create" in actions and "event.list" in actions
