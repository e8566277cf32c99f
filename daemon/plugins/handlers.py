"""Base class of plugins' HTTP handlers, and reading a request for them."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive

from daemon.http.credentials import credentials
from daemon.plugins import jsonable
from daemon.plugins.answers import checked, checked_header, checked_status
from daemon.plugins.errors import HttpError
from daemon.plugins.forms import Form, urlencoded
from store import AuthenticationError, Context, User

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")

_REQUIRED: Final = object()


@dataclass
class _ResponseDraft:
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    written: list[object] = field(default_factory=list)


class BaseHandler:
    """Handles one request to a plugin. Subclasses have coroutine methods `get`, `post` and so on.

    The groups of the path's pattern are the method's arguments. Its return value is the response, as JSON;
    bytes and Starlette's responses are sent unchanged, and None is a response without a body (204).
    """

    def __init__(
        self, ctx: Context, user: User, request: Request, body: bytes, form: Form | None = None
    ) -> None:
        self.ctx = ctx
        """The open context."""
        self.user = user
        """The active user whose token the request carries, without the token."""
        self.request = request
        """Starlette's request, without its token."""
        form = form or Form()
        self.body = body if form.only_file is None else form.only_file.body
        """The body, or the only file of a multipart form. `request.body()` returns the whole body."""
        self.files = form.files
        """The files of a multipart form by field name: lists of `UploadedFile`."""
        self._fields = form.fields or urlencoded(request.headers.get("content-type", ""), body)
        self._answer = _ResponseDraft()

    def initialize(self, **options: Any) -> None:  # noqa: ANN401 - whatever add_handlers was given
        """Set the options given to `add_handlers` as attributes; called before the method."""
        for name, value in options.items():
            setattr(self, name, value)

    def json(self) -> Any:  # noqa: ANN401 - JSON's values
        """The body as JSON.

        Raises:
            HttpError: 400 if it is not JSON.
        """
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, "bad_json", f"the body is not JSON: {error}") from error

    def get_argument(self, name: str, default: Any = _REQUIRED) -> Any:  # noqa: ANN401 - the default's type
        """A field of the form, else a parameter of the query; the last of several values.

        Raises:
            HttpError: 400 if it is missing and there is no default.
        """
        if values := self.get_arguments(name):
            return values[-1]
        if default is _REQUIRED:
            raise HttpError(400, "missing_argument", f"the query or the form needs the parameter {name}")
        return default

    def get_arguments(self, name: str) -> list[str]:
        """All values of a parameter, of the query first, then of the form."""
        return self.request.query_params.getlist(name) + self._fields.get(name, [])

    def write(self, value: object) -> None:
        """Append text or bytes to the response, or set any other value as JSON; instead of returning it."""
        self._answer.written.append(value)

    def set_status(self, status: int) -> None:
        """Set the status of the response.

        Raises:
            ValueError: it is not a whole number from 200 to 599.
        """
        self._answer.status = checked_status(status)

    def set_header(self, name: str, value: str) -> None:
        """Set a header of the response.

        Raises:
            ValueError: name or value is invalid, or Facend sets this header.
        """
        name, value = checked_header(name, value)
        self._answer.headers[name] = value

    def finished(self, returned: object) -> Response:
        """The response from what the method returned or wrote.

        Raises:
            ValueError: it cannot be sent.
        """
        response = returned if isinstance(returned, Response) else self._made(returned)
        return checked(response, head=self.request.method == "HEAD")

    def _made(self, returned: object) -> Response:
        answer = self._answer
        value = returned if returned is not None else _joined(answer.written)
        if value is None:
            return Response(status_code=answer.status or 204, headers=answer.headers)
        if isinstance(value, bytes):
            content, media_type = value, "application/octet-stream"
        else:
            content, media_type = jsonable.encoded(value), "application/json"
        headers = {"content-type": media_type, "cache-control": "no-store"}
        headers |= {name.lower(): text for name, text in answer.headers.items()}
        return Response(content, status_code=answer.status or 200, headers=headers)


def error_answer(error: HttpError) -> Response:
    """`{"error": {"code": …, "message": …}}`."""
    content = jsonable.encoded({"error": {"code": error.code, "message": error.message}})
    headers = {"content-type": "application/json", "cache-control": "no-store", **error.headers}
    return Response(content, status_code=error.status, headers=headers)


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
    return Request({**request.scope, "headers": headers}, _replaying(request.receive, body))


def _replaying(receive: Receive, body: bytes) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _joined(written: list[object]) -> object:
    if all(isinstance(part, str | bytes) for part in written):
        parts = [part.encode() if isinstance(part, str) else part for part in written]
        return b"".join(part for part in parts if isinstance(part, bytes)) if parts else None
    return written[-1]


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
