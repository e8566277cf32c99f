"""Accounts of people who sign in, and API tokens."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from daemon.http.api.problems import responses
from daemon.http.api.security import Managing, address_of
from daemon.http.api.services import ServicesDependency
from store.accounts.accounts import Account, Accounts
from store.accounts.credentials import ApiToken, ApiTokens, close_sessions
from store.accounts.roles import Role

router = APIRouter()

MAX_NAME = 64
Name = Annotated[str, Path(max_length=MAX_NAME)]
CameraIds = Annotated[list[str], Field(max_length=1000)]


class UserResponse(BaseModel):
    """A person who signs in."""

    name: str
    role: Role
    cameras: list[str] | None
    """The cameras that a viewer may see; null for all."""
    active: bool
    has_password: bool
    created: datetime


class NewUser(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role
    cameras: CameraIds | None = None
    password: SecretStr | None = None


class UserChanges(BaseModel):
    """What is given is changed; `cameras: null` permits all cameras."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    cameras: CameraIds | None = None
    password: SecretStr | None = None
    active: bool | None = None


class TokenResponse(BaseModel):
    """An API token, without its text."""

    name: str
    role: Role
    cameras: list[str] | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None


class NewToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role
    cameras: CameraIds | None = None
    days: Annotated[int, Field(ge=1, le=3650)] | None = 365
    """Lifetime; null: it does not expire."""


class IssuedToken(TokenResponse):
    token: str
    """The text of the token, shown this once."""


def _user(account: Account) -> UserResponse:
    return UserResponse(
        name=account.name,
        role=account.role,
        cameras=None if account.cameras is None else sorted(account.cameras),
        active=account.active,
        has_password=account.has_password,
        created=account.created,
    )


def _token(token: ApiToken) -> TokenResponse:
    return TokenResponse(
        name=token.name,
        role=token.role,
        cameras=None if token.cameras is None else sorted(token.cameras),
        created=token.created,
        expires=token.expires,
        last_used=token.last_used,
    )


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@router.get("/users", tags=["users"], responses=responses())
async def list_users(services: ServicesDependency, principal: Managing) -> list[UserResponse]:
    """All users, by name."""
    return [_user(account) for account in await Accounts(services.ctx.database, principal.owner).find()]


@router.post("/users", tags=["users"], status_code=201, responses=responses(400, 409))
async def add_user(
    request: Request, services: ServicesDependency, principal: Managing, new: NewUser
) -> UserResponse:
    """Add a user. Without a password the user cannot sign in yet."""
    await services.audit(principal).record(
        principal, "user.add", f"user/{new.name[:MAX_NAME]}", address_of(request), role=new.role.value
    )
    accounts = Accounts(services.ctx.database, principal.owner)
    return _user(await accounts.add(new.name, new.role, new.cameras, _text(new.password)))


@router.patch("/users/{name}", tags=["users"], responses=responses(400, 404, 409))
async def change_user(
    request: Request, services: ServicesDependency, principal: Managing, name: Name, changes: UserChanges
) -> UserResponse:
    """Change a user. A new password, role or deactivation ends the user's sessions."""
    accounts = Accounts(services.ctx.database, principal.owner)
    given = changes.model_fields_set
    known = await accounts.get(name)
    await services.audit(principal).record(
        principal,
        "user.change",
        f"user/{known.name}",
        address_of(request),
        fields=", ".join(sorted(given)),
    )
    account = await accounts.change(
        name,
        role=changes.role,
        cameras=changes.cameras,
        all_cameras="cameras" in given and changes.cameras is None,
        password=_text(changes.password),
        active=changes.active,
    )
    if given & {"password", "role", "active"}:
        await close_sessions(services.ctx.database, account)
    return _user(account)


@router.delete("/users/{name}", tags=["users"], status_code=204, responses=responses(404, 409))
async def remove_user(
    request: Request, services: ServicesDependency, principal: Managing, name: Name
) -> Response:
    """Remove a user and end the user's sessions."""
    accounts = Accounts(services.ctx.database, principal.owner)
    known = await accounts.get(name)
    await services.audit(principal).record(
        principal, "user.remove", f"user/{known.name}", address_of(request)
    )
    await close_sessions(services.ctx.database, await accounts.remove(name))
    return Response(status_code=204)


@router.get("/tokens", tags=["tokens"], responses=responses())
async def list_tokens(services: ServicesDependency, principal: Managing) -> list[TokenResponse]:
    """All API tokens, by name, expired ones included."""
    return [_token(token) for token in await ApiTokens(services.ctx.database, principal.owner).find()]


@router.post("/tokens", tags=["tokens"], status_code=201, responses=responses(400, 409))
async def add_token(
    request: Request, services: ServicesDependency, principal: Managing, new: NewToken
) -> IssuedToken:
    """Issue an API token. Its text is shown in this response alone."""
    lifetime = None if new.days is None else timedelta(days=new.days)
    tokens = ApiTokens(services.ctx.database, principal.owner)
    await services.audit(principal).record(
        principal, "token.add", f"token/{new.name[:MAX_NAME]}", address_of(request), role=new.role.value
    )
    text, token = await tokens.add(new.name, new.role, new.cameras, lifetime)
    return IssuedToken(token=text, **_token(token).model_dump())


@router.delete("/tokens/{name}", tags=["tokens"], status_code=204, responses=responses(404))
async def revoke_token(
    request: Request, services: ServicesDependency, principal: Managing, name: Name
) -> Response:
    """Revoke an API token at once."""
    await services.audit(principal).record(principal, "token.revoke", f"token/{name}", address_of(request))
    await ApiTokens(services.ctx.database, principal.owner).revoke(name)
    return Response(status_code=204)
