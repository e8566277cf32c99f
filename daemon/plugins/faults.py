"""Maps exceptions of handlers to error responses."""

from http import HTTPStatus

from starlette.exceptions import HTTPException

from daemon.plugins.errors import HttpError, OverdueFault
from pipeline.faces.facen import FacenError
from store.errors import (
    AuthenticationError,
    BadValueError,
    ConflictError,
    FacenExistsError,
    FacenStorageError,
    ImageError,
    ImagesBusyError,
    NotFoundError,
    QueryTimeoutError,
    SpoolError,
    StoreUnavailableError,
    UploadError,
)

_ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (AuthenticationError, 401, "unauthenticated"),
    (NotFoundError, 404, "not_found"),
    (ConflictError, 409, "conflict"),
    (FacenExistsError, 409, "conflict"),
    (QueryTimeoutError, 400, "query_timeout"),
    (StoreUnavailableError, 503, "unavailable"),
    (FacenStorageError, 503, "unavailable"),
    (UploadError, 503, "unavailable"),
    (ImagesBusyError, 503, "busy"),
    (SpoolError, 503, "unavailable"),
    (ImageError, 400, "bad_picture"),
    (FacenError, 400, "bad_facen"),
    (BadValueError, 400, "bad_value"),
)
"""The first match applies; subclasses precede their bases."""

_RETRY = {"retry-after": "5"}


def expected_answer(error: Exception) -> HttpError | None:
    """The response to an exception that is meant for the client; None for a fault of the plugin."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, HTTPException):
        try:
            code = HTTPStatus(error.status_code).name.lower()
            return HttpError(error.status_code, code, str(error.detail), dict(error.headers or {}))
        except ValueError:  # an invalid status or header
            return None
    for kind, status, code in _ANSWERS:
        if isinstance(error, kind):
            return HttpError(status, code, str(error), _RETRY if status == 503 else None)
    return None


def fault_answer(error: Exception) -> HttpError:
    """The response to a fault of the plugin, without internal details."""
    if isinstance(error, OverdueFault):
        return HttpError(504, "timeout", f"the handler {error}")
    return HttpError(500, "internal", "the handler failed; the log says why")
