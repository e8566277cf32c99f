"""Signing in and out."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from daemon.http.api.problems import responses
from daemon.http.api.security import COOKIE, Anyone, LoginThrottle, address_of, require_same_origin
from daemon.http.api.services import ServicesDependency
from daemon.http.errors import HttpError
from store import AuthenticationError, NotFoundError
from store.accounts.accounts import Accounts
from store.accounts.audit import AuditLog
from store.accounts.credentials import SESSION_MAX, close_session, open_session
from store.accounts.roles import Permission, Principal, Role

router = APIRouter(tags=["session"])


class SignIn(BaseModel):
    name: str = Field(max_length=64)
    password: SecretStr = Field(max_length=1024)


class Me(BaseModel):
    """Who makes the request, and what it may do."""

    name: str
    role: Role
    permissions: list[Permission]
    cameras: list[str] | None
    """The cameras that it may see; null for all."""


def _me(principal: Principal) -> Me:
    cameras = None if principal.cameras is None else sorted(principal.cameras)
    return Me(
        name=principal.name,
        role=principal.role,
        permissions=sorted(principal.role.permissions),
        cameras=cameras,
    )


@router.post("/session", responses=responses(401, 429))
async def sign_in(request: Request, response: Response, login: SignIn, services: ServicesDependency) -> Me:
    """Sign in with name and password; the answer sets the cookie of the session."""
    require_same_origin(request)
    throttle: LoginThrottle = request.app.state.throttle
    address = address_of(request)
    keys = (f"address {address}", f"name {login.name.lower()}")
    throttle.check(*keys)
    accounts = Accounts(services.ctx.database, services.owner)
    audit = AuditLog(services.ctx.database, services.owner)
    try:
        async with throttle.hashing:
            account = await accounts.verify(login.name, login.password.get_secret_value())
    except AuthenticationError as error:
        throttle.failed(*keys)
        nobody = Principal(services.owner, "nobody", Role.VIEWER, frozenset())
        await audit.record(nobody, "session.refuse", address=address, name=await _known(accounts, login.name))
        raise HttpError(401, "wrong_password", "name or password is wrong") from error
    throttle.succeeded(*keys)
    await audit.record(account.principal, "session.open", address=address)
    text = await open_session(services.ctx.database, account, address)
    response.set_cookie(
        COOKIE,
        text,
        max_age=int(SESSION_MAX.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _me(account.principal)


async def _known(accounts: Accounts, name: str) -> str:
    """The name if an account has it; otherwise "", because a password may have been typed in its place."""
    try:
        return (await accounts.get(name)).name
    except NotFoundError:
        return ""


@router.get("/session", responses=responses())
async def whoami(principal: Anyone) -> Me:
    """Who makes this request."""
    return _me(principal)


@router.delete("/session", status_code=204, responses=responses())
async def sign_out(request: Request, services: ServicesDependency, principal: Anyone) -> Response:
    """End the session of this request."""
    if session := request.cookies.get(COOKIE):
        await services.audit(principal).record(principal, "session.close", address=address_of(request))
        await close_session(services.ctx.database, session)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
