"""What the routes work on: the open context, the box's status, and the audit log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from bson import ObjectId
from fastapi import Depends, Request

from daemon.config.stored_webhooks import AddedWebhooks
from daemon.events.rules.settings import RuleSettings
from daemon.events.sinks.settings import WebhookSettings
from daemon.http.errors import HttpError
from daemon.status import DaemonReport
from store import Context
from store.accounts.audit import AuditLog
from store.accounts.roles import Principal


@dataclass(frozen=True, slots=True)
class AlertSources:
    """Webhooks and rules of the settings, and where webhooks are added."""

    webhooks: Sequence[WebhookSettings] = ()
    rules: Sequence[RuleSettings] = ()
    added: AddedWebhooks | None = None
    add_webhooks: bool = False
    """Whether the API may add webhooks."""


@dataclass(frozen=True, slots=True)
class ApiSources:
    """Where the API gets its data from."""

    store: Callable[[], tuple[Context, ObjectId] | None]
    """The open context and the owner of this box's data; None while the store is not open."""
    report: Callable[[], DaemonReport]
    """The state of this box."""
    alerts: AlertSources = AlertSources()


@dataclass(frozen=True, slots=True)
class Services:
    """Of one request."""

    ctx: Context
    owner: ObjectId
    """The owner of this box's data."""
    report: Callable[[], DaemonReport]
    alerts: AlertSources

    def audit(self, principal: Principal) -> AuditLog:
        return AuditLog(self.ctx.database, principal.owner)


def _services(request: Request) -> Services:
    sources: ApiSources = request.app.state.sources
    if (opened := sources.store()) is None:
        raise HttpError(503, "not_ready", "the store is not open yet", {"retry-after": "5"})
    return Services(*opened, sources.report, sources.alerts)


ServicesDependency = Annotated[Services, Depends(_services)]
