"""The application below `/api/v1`."""

from importlib.metadata import version

from fastapi import FastAPI, Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.http.api.problems import add_problem_handlers, problem_response
from daemon.http.api.routes import audit, box, events, faces, persons, session, users, visits, watch, webhooks
from daemon.http.api.security import LoginThrottle
from daemon.http.api.services import ApiSources
from daemon.http.errors import HttpError
from daemon.http.requests import read_body, replaying
from store.mongo.query_limits import for_client

PATH = "/api/v1"
MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30.0
MAX_DOCUMENTS = 10_000


def api_route(sources: ApiSources) -> Mount:
    """The API, and its description as OpenAPI 3.1 in `/api/v1/openapi.json`."""
    app = FastAPI(
        title="Facend",
        version=version("facend"),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        servers=[{"url": PATH}],
        root_path_in_servers=False,
    )
    app.state.sources = sources
    app.state.throttle = LoginThrottle()
    for module in (session, users, audit, visits, persons, faces, box, events, watch, webhooks):
        app.include_router(module.router)
    add_problem_handlers(app)
    return Mount(PATH, app=_Limited(app))


class _Limited:
    """Reads the body within its limits before the application runs, whose queries are limited as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(Request(scope, receive), MAX_BODY_BYTES, BODY_SECONDS)
        except HttpError as error:
            await problem_response(error.status, error.code, error.message)(scope, receive, send)
            return
        with for_client(MAX_DOCUMENTS):
            await self._app(scope, replaying(receive, body), send)
