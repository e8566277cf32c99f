"""Errors as problem documents (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from daemon.http.errors import HttpError, expected_answer
from pipeline.base.redaction import redact, redact_text
from store import StoreError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    code: str
    """For programs, such as `not_found`."""
    detail: str
    """For people: what, where, and what to do."""
    errors: list[dict[str, str]] | None = None
    """The invalid parts of a request, each with `where` and `what`."""


def problem_response(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **more: Any,  # noqa: ANN401
) -> JSONResponse:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail, **more)
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status,
        {"cache-control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every expected error with a problem; any other is a fault of the program."""

    async def on_error(_request: Request, error: Exception) -> JSONResponse:
        if (answer := expected_answer(error)) is None:
            raise error
        return problem_response(answer.status, answer.code, answer.message, answer.headers)

    async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        errors = [
            {"where": ".".join(str(part) for part in one["loc"]), "what": str(one["msg"])}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['where']}: {one['what']}" for one in errors)
        return problem_response(422, "invalid_request", redact_text(detail), errors=redact(errors))

    for kind in (HttpError, StoreError, HTTPException):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "model": Problem, "content": content}
        for status in (401, 403, 422, 503, *statuses)
    }
