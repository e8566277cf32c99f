"""Serves `/v0` and `/v1`: routing, authentication, and a response to every outcome."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from itertools import product

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from daemon.http.errors import HttpError, expected_answer
from daemon.http.facenapi import cameras, faces, persons, recognition
from daemon.http.facenapi.call import Answer, Call, WireSettings
from daemon.http.facenapi.errors import BadParameterError, error_response
from daemon.http.facenapi.parameters import read_parameters
from daemon.http.requests import authenticated, read_body
from store import Context, ImageError, StoreError
from store.errors import BadValueError
from store.mongo.query_limits import for_client

Method = Callable[[Call], Awaitable[Answer]]

VERSIONS = (0, 1)
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_DOCUMENTS = 10_000
REQUEST_SECONDS = 60.0
"""Time limit of a call, and of its body."""
CALLS_AT_ONCE = 16
"""Calls that hold a body in memory at the same time; others wait."""

CALLS: Mapping[str, Mapping[str, Method]] = {
    "/detect": {"POST": recognition.detect},
    "/verify": {"POST": recognition.verify},
    "/identify": {"POST": recognition.identify},
    "/faces/gallery/{gallery}/identify": {"POST": recognition.identify},
    "/face": {"POST": faces.add},
    "/face/id/{id}": {"GET": faces.one, "PUT": faces.change, "DELETE": faces.remove},
    "/face/id/{id}/{picture}": {"GET": faces.picture},
    "/face/meta/{meta:path}": {"GET": faces.with_meta},
    "/face/gallery/{gallery}/meta/{meta:path}": {"GET": faces.with_meta},
    "/faces": {"GET": faces.listed},
    "/faces/gallery/{gallery}": {"GET": faces.listed},
    "/meta": {"GET": faces.metas},
    "/meta/gallery/{gallery}": {"GET": faces.metas},
    "/galleries": {"GET": faces.galleries},
    "/galleries/{gallery}": {"POST": faces.add_gallery, "DELETE": faces.remove_gallery},
    "/persons": {"GET": persons.listed},
    "/person/id/{id}": {"GET": persons.one},
    "/person/history/id/{id}": {"GET": persons.history},
    "/history/search": {"POST": persons.search},
    "/camera": {"GET": cameras.listed, "POST": cameras.add},
    "/camera/{id}": {"GET": cameras.one, "PUT": cameras.change, "DELETE": cameras.remove},
}
"""The methods by path, below the version."""


class FacenApi:
    """The calls of both versions, on the context that is open."""

    def __init__(self, settings: WireSettings, context: Callable[[], Context | None]) -> None:
        """`context` returns None while the store is not open."""
        self._settings = settings
        self._context = context
        self._at_once = asyncio.Semaphore(CALLS_AT_ONCE)

    def routes(self) -> list[Route]:
        """Also for paths with a trailing slash, and one for unknown paths; none if the API is disabled."""
        routes: list[Route] = []
        if not self._settings.enabled:
            return routes
        for version in VERSIONS:
            for (path, methods), slash in product(CALLS.items(), ("", "/")):
                routes.append(self._route(f"/v{version}{path}{slash}", version, methods))
            routes.append(self._route(f"/v{version}/{{unknown:path}}", version, {}))
        return routes

    def _route(self, path: str, version: int, methods: Mapping[str, Method]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._answer(request, version, methods)
            except BadValueError as error:
                parameter = "photo" if isinstance(error, ImageError) else "request"
                return error_response(BadParameterError(parameter, None, str(error)))
            except (HttpError, StoreError) as error:
                if (answer := expected_answer(error)) is None:
                    raise
                return error_response(answer)

        return Route(path, endpoint, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])

    async def _answer(self, request: Request, version: int, methods: Mapping[str, Method]) -> Response:
        if (ctx := self._context()) is None:
            raise HttpError(503, "not_ready", "the store is not open yet", {"retry-after": "5"})
        user = await authenticated(ctx, request)
        if not methods:
            raise HttpError(404, "not_found", "there is no call at this path")
        method = methods.get("GET" if request.method == "HEAD" else request.method)
        if method is None:
            allowed = ", ".join(methods)
            text = f"{request.method} is not possible here; possible: {allowed}"
            raise HttpError(405, "method_not_allowed", text, {"allow": allowed})
        async with self._at_once:
            body = await read_body(request, MAX_BODY_BYTES, REQUEST_SECONDS)
            parameters = await read_parameters(request, body)
            call = Call(ctx, user, request, parameters, version, self._settings)
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    with for_client(MAX_DOCUMENTS):
                        answer = await method(call)
            except TimeoutError as error:
                text = f"the call took longer than {REQUEST_SECONDS:g} s"
                raise HttpError(503, "timeout", text, {"retry-after": "5"}) from error
        if isinstance(answer, Response):
            return answer
        content = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"cache-control": "no-store"}
        return Response(content, media_type="application/json; charset=utf-8", headers=headers)
