"""Errors as responses: those that endpoints raise, and those of the store."""

from http import HTTPStatus

from starlette.exceptions import HTTPException

from daemon.http.responses import checked_header, checked_status
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


class HttpError(Exception):
    """An error response with the body `{"error": {"code": …, "message": …}}`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """`code` is for programs, one word such as `no_face`; `message` is for people.

        Raises:
            ValueError: the status or a header is invalid.
        """
        super().__init__(message)
        self.status = checked_status(status)
        self.code = code
        self.message = message
        self.headers = dict(checked_header(name, value) for name, value in (headers or {}).items())


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
    """The response to an exception that is meant for the client; None for a fault of the code."""
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
