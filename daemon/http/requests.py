"""Reading requests: the user whose token they carry, and their body."""

import asyncio
import contextlib

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from daemon.http.credentials import credentials
from daemon.http.errors import HttpError
from store import AuthenticationError, Context, User


async def authenticated(ctx: Context, request: Request) -> User:
    """The active user whose token is in `Authorization: Token …`, without the token.

    Raises:
        HttpError: 401 without a valid token.
        StoreError: the store is away.
    """
    headers = {"www-authenticate": "Token"}
    tokens = credentials(request, "token")
    if not tokens:
        text = "this needs the header Authorization: Token <token>"
        raise HttpError(401, "no_token", text, headers)
    for token in tokens:
        with contextlib.suppress(AuthenticationError):
            user = await ctx.users.authenticate(token)
            del user["token"]
            return user
    raise HttpError(401, "unknown_token", "no active user has this token", headers)


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Read the body.

    Raises:
        HttpError: it is too large, too slow, or incomplete.
    """
    too_large = HttpError(413, "too_large", f"the body is larger than {max_bytes} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError as error:
        raise HttpError(408, "too_slow", f"the body did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise HttpError(400, "broken_off", "the body is incomplete") from error
    return bytes(body)


def request_for_handler(request: Request, body: bytes) -> Request:
    """The request with the body that was read, and without the token."""
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    return Request({**request.scope, "headers": headers}, replaying(request.receive, body))


def replaying(receive: Receive, body: bytes) -> Receive:
    """What receives a body that was read already, then the client's disconnection."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
