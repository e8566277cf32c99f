"""Metrics, health and status over HTTP, on the daemon's own event loop."""

import asyncio
import errno
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from ipaddress import ip_address
from secrets import compare_digest
from typing import Any, Protocol
from urllib.parse import unquote

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.errors import SettingsError, StartError
from daemon.http.connections import ConnectionLimits, Connections, protocol_for
from daemon.http.credentials import credentials
from pipeline.base.background import supervised
from pipeline.base.hosts import split_authority
from pipeline.base.redaction import redact

STOP_SECONDS = 1

BACKLOG = 64
"""Connections that wait in the kernel, and that asyncio accepts before one can be refused."""

_ADVICE = {
    errno.EADDRINUSE: "stop what listens there, or set http.port (--port of the demo)",
    errno.EADDRNOTAVAIL: "http.host is not an address of this machine, or its network is not up yet",
    errno.EACCES: "ports below 1024 are reserved for root: set http.port to another one",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Health(Protocol):
    """Health and status of the daemon."""

    def stuck(self) -> str:
        """Why the process no longer works; empty if it does."""
        ...

    def not_ready(self) -> str:
        """Why sightings cannot be stored at present; empty if they can."""
        ...

    def status(self) -> Mapping[str, Any]: ...


def application(
    registry: CollectorRegistry,
    health: Health,
    more: Sequence[BaseRoute] = (),
    token: str = "",
    allowed_hosts: Sequence[str] = (),
) -> Starlette:
    """The daemon's own paths, then the routes in `more`, which authenticate by themselves.

    With a token, the daemon's paths require `Authorization: Bearer <token>`. Without one they require a
    `Host` of this machine or of `allowed_hosts`, which prevents DNS rebinding by web pages in a local
    browser. Health needs neither.
    """

    def guarded(endpoint: Endpoint) -> Endpoint:
        return _with_token(endpoint, token) if token else _with_local_host(endpoint, allowed_hosts)

    async def index(_request: Request) -> Response:
        return PlainTextResponse(
            "Facend\n/metrics  Prometheus\n/healthz  alive\n/readyz   stores\n/status   JSON\n"
        )

    async def metrics(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except TypeError:  # a malformed version in the header
            encode, content_type = choose_encoder("")
        # Collecting reads /proc and waits for locks of other threads: not on the event loop.
        return Response(await asyncio.to_thread(encode, registry), media_type=content_type)

    async def healthz(_request: Request) -> Response:
        return _verdict(health.stuck())

    async def readyz(_request: Request) -> Response:
        return _verdict(health.stuck() or health.not_ready())

    async def status(_request: Request) -> Response:
        return Response(json.dumps(redact(health.status()), default=_as_json), media_type="application/json")

    return Starlette(
        routes=[
            Route("/", guarded(index)),
            Route("/metrics", guarded(metrics)),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/status", guarded(status)),
            *more,
        ],
        middleware=[Middleware(OriginForm)],
    )


class OriginForm:
    """Rewrites absolute-form targets, as proxies send them, to origin form; their host replaces `Host`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := _ABSOLUTE.fullmatch(scope["raw_path"])):
            host, path = found[1], found[2] or b"/"
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            headers.append((b"host", host))
            scope = {**scope, "raw_path": path, "path": unquote(path.decode("latin-1")), "headers": headers}
        await self._app(scope, receive, send)


_ABSOLUTE = re.compile(rb"https?://([^/]*)(/.*)?", re.IGNORECASE)


def _with_local_host(endpoint: Endpoint, allowed_hosts: Sequence[str]) -> Endpoint:
    allowed = {host.lower().rstrip(".") for host in ("localhost", *allowed_hosts)}

    def is_local(authority: str) -> bool:
        try:
            host = split_authority(authority)[0].lower().rstrip(".")
            return host in allowed or ip_address(host).is_loopback
        except ValueError:  # UrlError, or a name that is no address
            return False

    async def guarded(request: Request) -> Response:
        named = [*request.headers.getlist("host")]
        named += [origin.rpartition("://")[2] for origin in request.headers.getlist("origin")]
        local = all(is_local(authority) for authority in named)
        if local and request.headers.get("sec-fetch-site") != "cross-site":
            return await endpoint(request)
        text = "the Host of the request is not this machine's; see http.allowed_hosts and http.token\n"
        return PlainTextResponse(text, 403)

    return guarded


def _with_token(endpoint: Endpoint, token: str) -> Endpoint:
    async def guarded(request: Request) -> Response:
        given = credentials(request, "bearer")
        if any(compare_digest(text.encode(), token.encode()) for text in given):
            return await endpoint(request)
        headers = {"www-authenticate": "Bearer"}
        return PlainTextResponse("the header Authorization: Bearer <http.token> is required\n", 401, headers)

    return guarded


def _verdict(trouble: str) -> Response:
    return PlainTextResponse(f"{trouble or 'ok'}\n", status_code=503 if trouble else 200)


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon, which decides the order of the shutdown."""
        yield


@asynccontextmanager
async def serving(
    app: Starlette,
    host: str,
    port: int,
    connections: Connections | None = None,
) -> AsyncIterator[str]:
    """Serve until the end of the block in a supervised task; yields the address.

    Raises:
        StartError: the port is taken.
    """
    connections = Connections(ConnectionLimits()) if connections is None else connections
    listener = listen(host, port)
    address = f"http://{'[' + host + ']' if ':' in host else host}:{listener.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            app,
            http=protocol_for(connections),
            ws="none",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )

    async def serve() -> None:
        await server.serve(sockets=[listener])
        if not server.should_exit:
            raise RuntimeError("the HTTP server ended by itself")

    task = supervised(serve(), "http")
    try:
        yield address
    finally:
        server.should_exit = True
        await asyncio.wait([task])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        StartError: the port is taken.
        SettingsError: the host cannot be resolved.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except socket.gaierror as error:
        listener.close()
        raise SettingsError(
            [f"http.host = {host!r}: not an address of this machine ({error.strerror})"]
        ) from error
    except OSError as error:
        listener.close()
        advice = _ADVICE.get(error.errno or 0, "set another http.host or http.port")
        raise StartError(f"http: cannot listen on {host} port {port} ({error.strerror}); {advice}") from error
    listener.setblocking(False)
    return listener
