"""The base of plugins' HTTP handlers, and one request's way through one of them."""

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
class _Answer:
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    written: list[object] = field(default_factory=list)


class BaseHandler:
    """One request to a plugin. Subclasses have coroutine methods `get`, `post` and so on.

    What a method returns is the answer, as JSON; bytes and Starlette's responses go out as they are, and
    nothing is an answer without a body (204). What the path's pattern takes out of the path are the
    method's arguments.
    """

    def __init__(
        self, ctx: Context, user: User, request: Request, body: bytes, form: Form | None = None
    ) -> None:
        self.ctx = ctx
        """The open context."""
        self.user = user
        """The active user whose token the request carries; without the token, which no answer needs."""
        self.request = request
        """Starlette's request, without its token."""
        form = form or Form()
        self.body = body if form.only_file is None else form.only_file.body
        """The whole body; of a multipart form with one file, this file. `request.body()` gives the form."""
        self.files = form.files
        """The files of a multipart form, by the names of their fields: each a list of `UploadedFile`."""
        self._fields = form.fields or urlencoded(request.headers.get("content-type", ""), body)
        self._answer = _Answer()

    def initialize(self, **options: Any) -> None:  # noqa: ANN401 - whatever add_handlers was given
        """Takes the options that stand beside the handler in `add_handlers`; called before the method."""
        for name, value in options.items():
            setattr(self, name, value)

    def json(self) -> Any:  # noqa: ANN401 - JSON's values
        """The body as JSON. HttpError 400 where it is none."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, "bad_json", f"the body is no JSON: {error}") from error

    def get_argument(self, name: str, default: Any = _REQUIRED) -> Any:  # noqa: ANN401 - the default's type
        """A field of the form in the body, else a parameter of the query; of several values the last.

        HttpError 400 where it is missing and there is no default.
        """
        if values := self.get_arguments(name):
            return values[-1]
        if default is _REQUIRED:
            raise HttpError(400, "missing_argument", f"the query or the form needs the parameter {name}")
        return default

    def get_arguments(self, name: str) -> list[str]:
        """All values of a parameter: those of the query, then those of the form."""
        return self.request.query_params.getlist(name) + self._fields.get(name, [])

    def write(self, value: object) -> None:
        """Adds to the answer, for those who do not return it: text and bytes add up, all else is JSON."""
        self._answer.written.append(value)

    def set_status(self, status: int) -> None:
        """ValueError where it is no status from 200 to 599."""
        self._answer.status = checked_status(status)

    def set_header(self, name: str, value: str) -> None:
        """ValueError where name or value would not be a header's, or the header is Facend's own."""
        name, value = checked_header(name, value)
        self._answer.headers[name] = value

    def finished(self, returned: object) -> Response:
        """The answer made of what the method returned, or has written. ValueError where it cannot be sent."""
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
    """The active user whose token is in `Authorization: Token …`, without it. HttpError 401 else."""
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
    """The body. HttpError where it is too large, comes too slowly, or breaks off."""
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
        raise HttpError(408, "too_slow", f"the body did not come within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise HttpError(400, "broken_off", "the body broke off") from error
    return bytes(body)


def request_for_handler(request: Request, body: bytes) -> Request:
    """The request with the body that was read, and without the token, which is nobody else's business."""
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
    raise ValueError(f"{name} is no number of JSON")
