"""Base class of plugins' HTTP handlers."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from daemon.http.errors import HttpError
from daemon.http.forms import Form, urlencoded
from daemon.http.responses import checked, checked_header, checked_status
from daemon.plugins import jsonable
from store import Context, User

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
        """The response, from the method's return value or the calls of `write`.

        Raises:
            ValueError: the response cannot be sent.
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
            content, media_type = jsonable.encode(value), "application/json"
        headers = {"content-type": media_type, "cache-control": "no-store"}
        headers |= {name.lower(): text for name, text in answer.headers.items()}
        return Response(content, status_code=answer.status or 200, headers=headers)


def error_answer(error: HttpError) -> Response:
    """`{"error": {"code": …, "message": …}}`."""
    content = jsonable.encode({"error": {"code": error.code, "message": error.message}})
    headers = {"content-type": "application/json", "cache-control": "no-store", **error.headers}
    return Response(content, status_code=error.status, headers=headers)


def _joined(written: list[object]) -> object:
    if all(isinstance(part, str | bytes) for part in written):
        parts = [part.encode() if isinstance(part, str) else part for part in written]
        return b"".join(part for part in parts if isinstance(part, bytes)) if parts else None
    return written[-1]


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
