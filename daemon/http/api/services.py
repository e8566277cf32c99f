"""What the routes work on: the open context, the box's status, and the audit log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from bson import ObjectId
from fastapi import Depends, Request

from daemon.http.errors import HttpError
from daemon.status import DaemonReport
from store import Context
from store.accounts.audit import AuditLog
from store.accounts.roles import Principal


@dataclass(frozen=True, slots=True)
class ApiSources:
    """Where the API gets its data from."""

    store: Callable[[], tuple[Context, ObjectId] | None]
    """The open context and the owner of this box's data; None while the store is not open."""
    report: Callable[[], DaemonReport]
    """The state of this box."""


@dataclass(frozen=True, slots=True)
class Services:
    """Of one request."""

    ctx: Context
    owner: ObjectId
    """The owner of this box's data."""
    report: Callable[[], DaemonReport]

    def audit(self, principal: Principal) -> AuditLog:
        return AuditLog(self.ctx.database, principal.owner)


def _services(request: Request) -> Services:
    sources: ApiSources = request.app.state.sources
    if (opened := sources.store()) is None:
        raise HttpError(503, "not_ready", "the store is not open yet", {"retry-after": "5"})
    return Services(*opened, sources.report)


ServicesDependency = Annotated[Services, Depends(_services)]
