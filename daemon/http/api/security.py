"""Who makes a request: an API token, a session, or the owner's token; and what it may do."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from daemon.http.api.services import ServicesDependency
from daemon.http.credentials import credentials
from daemon.http.errors import HttpError
from daemon.http.requests import authenticated
from store.accounts.credentials import PREFIX, principal_of_session, principal_of_token
from store.accounts.roles import Permission, Principal, Role

COOKIE = "facend_session"
READING = ("GET", "HEAD", "OPTIONS")

_BEARER = HTTPBearer(auto_error=False, description="An API token, see `facend tokens`.")
_SESSION = APIKeyCookie(name=COOKIE, auto_error=False, description="A session of the console.")


def require_same_origin(request: Request) -> None:
    """HttpError 403 for a request that another site's page makes in a browser that is signed in here."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise HttpError(403, "cross_site", "pages of other sites may not make this request")


async def _principal(request: Request, services: ServicesDependency) -> Principal:
    headers = {"www-authenticate": "Bearer"}
    database = services.ctx.database
    for token in credentials(request, "bearer"):
        if token.startswith(PREFIX) and (found := await principal_of_token(database, token)) is not None:
            return found
        raise HttpError(401, "unknown_token", "the token is unknown, expired or revoked", headers)
    if credentials(request, "token"):
        user = await authenticated(services.ctx, request)
        return Principal(user["_id"], "owner", Role.ADMIN)
    if session := request.cookies.get(COOKIE):
        if request.method not in READING:
            require_same_origin(request)
        if (found := await principal_of_session(database, session)) is not None:
            return found
        raise HttpError(401, "session_ended", "the session has ended; sign in again", headers)
    text = "this requires Authorization: Bearer <API token>, or a session"
    raise HttpError(401, "not_authenticated", text, headers)


def permitted(permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """A dependency: the principal, if its role has the permission."""

    async def check(
        request: Request,
        services: ServicesDependency,
        _bearer: Annotated[object, Depends(_BEARER)],
        _session: Annotated[object, Depends(_SESSION)],
    ) -> Principal:
        principal = await _principal(request, services)
        if not principal.may(permission):
            text = f"the role {principal.role} does not permit this; it requires {permission}"
            raise HttpError(403, "forbidden", text)
        return principal

    return check


Seeing = Annotated[Principal, Depends(permitted(Permission.SEE))]
Changing = Annotated[Principal, Depends(permitted(Permission.CHANGE))]
Managing = Annotated[Principal, Depends(permitted(Permission.MANAGE))]
Auditing = Annotated[Principal, Depends(permitted(Permission.AUDIT))]


async def _anyone(
    request: Request,
    services: ServicesDependency,
    _bearer: Annotated[object, Depends(_BEARER)],
    _session: Annotated[object, Depends(_SESSION)],
) -> Principal:
    return await _principal(request, services)


Anyone = Annotated[Principal, Depends(_anyone)]


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


class LoginThrottle:
    """Delays attempts to sign in after failures, by name and by address; bounded in memory and work."""

    FREE_FAILURES = 5
    MAX_SECONDS = 300.0
    MAX_ENTRIES = 10_000

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Number of failures, and when the next attempt is permitted, by key."""
        self.hashing = asyncio.Semaphore(2)
        """Each comparison of a password takes tens of megabytes."""

    def check(self, *keys: str) -> None:
        """HttpError 429 while one of the keys is locked."""
        wait = max((self._failures.get(key, (0, 0.0))[1] for key in keys), default=0.0) - self._now()
        if wait > 0:
            text = "too many failed attempts to sign in; wait before the next one"
            raise HttpError(429, "too_many_attempts", text, {"retry-after": str(int(wait) + 1)})

    def failed(self, *keys: str) -> None:
        for key in keys:
            count = self._failures.pop(key, (0, 0.0))[0] + 1
            excess = min(count - self.FREE_FAILURES, 20)
            pause = 0.0 if excess < 0 else min(self.MAX_SECONDS, 2.0**excess)
            self._failures[key] = (count, self._now() + pause)
        while len(self._failures) > self.MAX_ENTRIES:
            self._failures.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        for key in keys:
            self._failures.pop(key, None)
