"""Webhooks of this box, and their deliveries."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from daemon.errors import SettingsError
from daemon.events.payload import EventPayload
from daemon.events.sinks.settings import WebhookSettings, new_secret
from daemon.events.sinks.webhook import WebhookSink
from daemon.events.sinks.webhook_target import webhook_target
from daemon.http.api.paging import Limit
from daemon.http.api.problems import responses
from daemon.http.api.security import Managing, address_of
from daemon.http.api.services import Services, ServicesDependency
from daemon.http.errors import HttpError
from store.accounts.roles import Principal
from store.outbox.deliveries import Deliveries, DeliveryState
from store.outbox.events import Outbox
from store.outbox.sink_states import SinkStates

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,48}$")]


class WebhookResponse(BaseModel):
    """A webhook, without its URL's path and its secrets."""

    name: str
    source: Literal["settings", "added"]
    host: str
    """Scheme and host of the URL."""
    types: list[str]
    cameras: list[str]
    enabled: bool
    off: str | None
    """Why it is switched off, because its receiver has unsubscribed."""
    delivered: int
    pending: int
    dead: int


class NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    url: SecretStr
    secret: SecretStr | None = None
    """`whsec_` and base64; null: one is made."""
    types: list[str] = []
    cameras: Annotated[list[str], Field(max_length=1000)] = []


class AddedWebhook(BaseModel):
    name: str
    secret: str
    """Shown this once."""


class DeliveryResponse(BaseModel):
    event_id: str
    state: DeliveryState
    attempts: int
    since: datetime
    ended_at: datetime | None
    next_at: datetime | None
    reason: str


class TestResult(BaseModel):
    result: str
    """`delivered`, `retry`, `dead` or `off`."""
    reason: str


class Resend(BaseModel):
    """One event, or all that were given up."""

    model_config = ConfigDict(extra="forbid")

    event_id: Annotated[str, Field(max_length=64)] | None = None
    dead: bool = False


class Resent(BaseModel):
    number: int


@router.get("", responses=responses())
async def list_webhooks(services: ServicesDependency, principal: Managing) -> list[WebhookResponse]:
    """The webhooks of the settings, and those that were added."""
    off = await _states(services, principal).switched_off()
    answer = []
    for webhook, source in (await _all(services, principal)).values():
        counts = await _deliveries(services, principal, webhook.name).counts()
        answer.append(
            WebhookResponse(
                name=webhook.name,
                source=source,
                host=_host(webhook),
                types=list(webhook.types),
                cameras=list(webhook.cameras),
                enabled=webhook.enabled,
                off=off.get(webhook.name),
                delivered=counts.get("delivered", 0),
                pending=counts.get("pending", 0),
                dead=counts.get("dead", 0),
            )
        )
    return answer


@router.post("", status_code=201, responses=responses(403, 409))
async def add_webhook(
    services: ServicesDependency, principal: Managing, request: Request, new: NewWebhook
) -> AddedWebhook:
    """Add a webhook. Only with `http.add_webhooks`: this box makes requests to its URL."""
    added = services.alerts.added
    if added is None or not services.alerts.add_webhooks:
        text = "the API may not add webhooks: set http.add_webhooks, or use `facend webhooks add`"
        raise HttpError(403, "not_enabled", text)
    if new.name in await _all(services, principal):
        raise HttpError(409, "conflict", f"there is a webhook {new.name} already")
    secret = new.secret.get_secret_value() if new.secret is not None else new_secret()
    fields = {"name": new.name, "url": new.url, "secret": secret, "types": new.types, "cameras": new.cameras}
    try:
        webhook = WebhookSettings.model_validate(fields)
        webhook_target(webhook)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HttpError(
            400, "bad_webhook", f"{where}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except SettingsError as error:
        raise HttpError(400, "bad_webhook", str(error)) from None
    await _record(services, principal, request, "webhook.add", new.name)
    await added.add(services.ctx, principal.owner, webhook)
    return AddedWebhook(name=new.name, secret=secret)


@router.delete("/{name}", status_code=204, responses=responses(404))
async def remove_webhook(
    services: ServicesDependency, principal: Managing, request: Request, name: Name
) -> Response:
    """Remove a webhook that was added."""
    _, source = await _named(services, principal, name)
    if source == "settings" or services.alerts.added is None:
        raise HttpError(409, "conflict", f"the webhook {name} is one of settings.toml: remove it there")
    await _record(services, principal, request, "webhook.remove", name)
    await services.alerts.added.remove(services.ctx, principal.owner, name)
    await _states(services, principal).switch_on(name)
    return Response(status_code=204)


@router.post("/{name}/enable", status_code=204, responses=responses(404, 409))
async def enable_webhook(
    services: ServicesDependency, principal: Managing, request: Request, name: Name
) -> Response:
    """Switch a webhook on again whose receiver has answered 410."""
    await _named(services, principal, name)
    await _record(services, principal, request, "webhook.enable", name)
    if not await _states(services, principal).switch_on(name):
        raise HttpError(409, "conflict", f"the webhook {name} is not switched off")
    return Response(status_code=204)


@router.post("/{name}/test", responses=responses(404))
async def test_webhook(
    services: ServicesDependency, principal: Managing, request: Request, name: Name
) -> TestResult:
    """Send an event of the type `test` now, once."""
    webhook, _ = await _named(services, principal, name)
    await _record(services, principal, request, "webhook.test", name)
    sink = WebhookSink(webhook_target(webhook))
    try:
        event = EventPayload(
            id=f"evt_{uuid4().hex}", type="test", time=datetime.now(UTC), box=services.ctx.box
        )
        result = await sink.deliver(event)
    finally:
        await sink.close()
    return TestResult(result=result.retry_class.value, reason=result.reason)


@router.get("/{name}/deliveries", responses=responses(404))
async def list_deliveries(
    services: ServicesDependency,
    principal: Managing,
    name: Name,
    limit: Limit = 50,
    state: DeliveryState | None = None,
) -> list[DeliveryResponse]:
    """What has become of the latest events, the latest first."""
    await _named(services, principal, name)
    found = await _deliveries(services, principal, name).latest(limit, state)
    return [DeliveryResponse.model_validate(asdict(one)) for one in found]


@router.post("/{name}/resend", responses=responses(400, 404))
async def resend(
    services: ServicesDependency, principal: Managing, request: Request, name: Name, what: Resend
) -> Resent:
    """Deliver again, with the same ids, within ten seconds."""
    await _named(services, principal, name)
    if (what.event_id is None) == (not what.dead):
        raise HttpError(400, "bad_resend", "expected either event_id or dead = true")
    await _record(services, principal, request, "webhook.resend", name)
    deliveries = _deliveries(services, principal, name)
    if what.event_id is None:
        return Resent(number=await deliveries.resend_dead())
    event = await Outbox(services.ctx.database, principal.owner, services.ctx.box).get(what.event_id)
    if event is None:
        raise HttpError(404, "not_found", f"there is no event {what.event_id}")
    await deliveries.resend(event)
    return Resent(number=1)


def _host(webhook: WebhookSettings) -> str:
    parts = urlsplit(webhook.url.get_secret_value())
    return f"{parts.scheme}://{parts.hostname}"


Source = Literal["settings", "added"]


async def _all(services: Services, principal: Principal) -> dict[str, tuple[WebhookSettings, Source]]:
    known: dict[str, tuple[WebhookSettings, Source]] = {}
    if services.alerts.added is not None:
        stored = await services.alerts.added.all(services.ctx, principal.owner)
        known = {one.name: (one, "added") for one in stored}
    return {**known, **{one.name: (one, "settings") for one in services.alerts.webhooks}}


async def _named(services: Services, principal: Principal, name: str) -> tuple[WebhookSettings, Source]:
    if (found := (await _all(services, principal)).get(name)) is None:
        raise HttpError(404, "not_found", f"there is no webhook {name}")
    return found


async def _record(services: Services, principal: Principal, request: Request, action: str, name: str) -> None:
    audit = services.audit(principal)
    await audit.record(principal, action, f"webhook/{name[:48]}", address=address_of(request))


def _deliveries(services: Services, principal: Principal, name: str) -> Deliveries:
    return Deliveries(services.ctx.database, principal.owner, services.ctx.box, name)


def _states(services: Services, principal: Principal) -> SinkStates:
    return SinkStates(services.ctx.database, principal.owner, services.ctx.box)
