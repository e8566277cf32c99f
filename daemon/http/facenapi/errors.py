"""Errors on this wire: a status, and `{"code": …, "reason": …}` with details."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from daemon.http.errors import HttpError

_CODES = {
    400: "BAD_PARAM",
    401: "AUTH_FAILED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    409: "CONFLICT",
    413: "TOO_LARGE",
    503: "SERVICE_UNAVAILABLE",
}
_VALUE_CHARACTERS = 200
"""Maximum length of a refused value in a response."""


class WireError(HttpError):
    """An error with a code of this wire and details."""

    def __init__(self, status: int, code: str, reason: str, **details: object) -> None:
        super().__init__(status, code, reason)
        self.details = details


class BadParameterError(WireError):
    """A parameter is missing, malformed, or names something that does not fit."""

    def __init__(self, name: str, value: object, reason: str, **details: object) -> None:
        shown = value if isinstance(value, int | float | bool | None) else str(value)[:_VALUE_CHARACTERS]
        super().__init__(400, "BAD_PARAM", f"{name}: {reason}", param=name, value=shown, **details)


def error_response(error: HttpError) -> Response:
    """Codes other than those of `WireError` follow from the status."""
    details: Mapping[str, Any] = {}
    code = _CODES.get(error.status, "INTERNAL_ERROR")
    if isinstance(error, WireError):
        code, details = error.code, error.details
    content = json.dumps({"code": code, "reason": error.message, **details}, ensure_ascii=False)
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(
        content.encode("utf-8", "replace"), status_code=error.status, headers=headers | error.headers
    )
