"""Metrics, health and status over HTTP, on the daemon's own event loop."""

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from secrets import compare_digest
from typing import Any, Protocol

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from daemon.credentials import credentials
from daemon.errors import SettingsError, StartError
from pipeline.redaction import redact

STOP_SECONDS = 1

_ADVICE = {
    errno.EADDRINUSE: "stop what listens there, or set http.port (--port of the demo)",
    errno.EADDRNOTAVAIL: "http.host is no address of this machine, or its network is not up yet",
    errno.EACCES: "ports below 1024 are root's: set http.port to another one",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Health(Protocol):
    """What the daemon can say of itself."""

    def stuck(self) -> str:
        """Why the process does not work any more, or the empty string."""
        ...

    def not_ready(self) -> str:
        """Why sightings cannot be stored at present, or the empty string."""
        ...

    def status(self) -> Mapping[str, Any]: ...


def application(
    registry: CollectorRegistry, health: Health, more: Sequence[BaseRoute] = (), token: str = ""
) -> Starlette:
    """The daemon's own paths, and after them those in `more`, which see to their own safety.

    With a token the daemon's paths want `Authorization: Bearer <token>`; health alone is everybody's.
    """

    async def index(_request: Request) -> Response:
        return PlainTextResponse(
            "Facend\n/metrics  Prometheus\n/healthz  alive\n/readyz   stores\n/status   JSON\n"
        )

    async def metrics(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except TypeError:  # of a version that is no numbers; the usual format is everybody's
            encode, content_type = choose_encoder("")
        # Collecting reads files of /proc and takes locks that the threads hold: not on the loop.
        return Response(await asyncio.to_thread(encode, registry), media_type=content_type)

    async def healthz(_request: Request) -> Response:
        return _verdict(health.stuck())

    async def readyz(_request: Request) -> Response:
        return _verdict(health.stuck() or health.not_ready())

    async def status(_request: Request) -> Response:
        return Response(json.dumps(redact(health.status()), default=_as_json), media_type="application/json")

    return Starlette(
        routes=[
            Route("/", _guarded(index, token)),
            Route("/metrics", _guarded(metrics, token)),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/status", _guarded(status, token)),
            *more,
        ]
    )


def _guarded(endpoint: Endpoint, token: str) -> Endpoint:
    if not token:
        return endpoint

    async def guarded(request: Request) -> Response:
        given = credentials(request, "bearer")
        if any(compare_digest(text.encode(), token.encode()) for text in given):
            return await endpoint(request)
        headers = {"www-authenticate": "Bearer"}
        return PlainTextResponse("this needs the header Authorization: Bearer <http.token>\n", 401, headers)

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
        """Signals belong to the daemon, which decides the order of the stop."""
        yield


@asynccontextmanager
async def serving(
    app: Starlette, host: str, port: int, on_crash: Callable[[BaseException], None]
) -> AsyncIterator[str]:
    """Serve until the end of the block; gives the address. StartError where the port is taken.

    `on_crash` hears of it when the server ends by a fault of its own.
    """
    listener = listen(host, port)
    address = f"http://{'[' + host + ']' if ':' in host else host}:{listener.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )

    def ended(task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            on_crash(error)
        elif not server.should_exit:
            on_crash(RuntimeError("the HTTP server ended by itself"))

    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    task.add_done_callback(ended)
    try:
        yield address
    finally:
        server.should_exit = True
        await asyncio.wait([task])


def listen(host: str, port: int) -> socket.socket:
    """A socket on that port. StartError where it is taken, SettingsError where the host is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except socket.gaierror as error:
        listener.close()
        raise SettingsError(
            [f"http.host = {host!r}: no address of this machine ({error.strerror})"]
        ) from error
    except OSError as error:
        listener.close()
        advice = _ADVICE.get(error.errno or 0, "set another http.host or http.port")
        raise StartError(f"http: cannot listen on {host} port {port} ({error.strerror}); {advice}") from error
    listener.setblocking(False)
    return listener
