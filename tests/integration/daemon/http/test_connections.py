"""Connections that send nothing, half a request, or never read: none of them holds up the others."""

import asyncio
import contextlib
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from daemon.http.connections import ConnectionLimits, Connections
from daemon.http.server import application, serving
from daemon.runtime.metrics import Metrics

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
HALF = HEAD + b"X-a: "
LARGE = 8 * 1024 * 1024


class Health:
    def stuck(self) -> str:
        return ""

    def not_ready(self) -> str:
        return ""

    def status(self) -> dict[str, object]:
        return {}


class Site:
    """A server with small limits."""

    def __init__(self, address: str, connections: Connections) -> None:
        self.address = address
        self.port = int(address.rsplit(":", 1)[1])
        self.connections = connections
        self.ended: Counter[str] = Counter()
        self.release = asyncio.Event()

    def connection_ended(self, reason: str) -> None:
        self.ended[reason] += 1

    async def open(
        self, data: bytes, source: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0), limit=1024
        )
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def ok(self, source: str = "127.0.0.1") -> bool:
        """Whether an ordinary request is answered."""
        reader, writer = await self.open(HEAD + b"Connection: close\r\n\r\n", source)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def server(**limits: float) -> AsyncIterator[Site]:
    small = {"connections": 40, "per_client": 20, "request_seconds": 30, "write_seconds": 30} | limits
    connections = Connections(ConnectionLimits(**small))  # type: ignore[arg-type] # whole numbers are floats, too
    made: list[Site] = []

    async def large(_request: Request) -> Response:
        return Response(bytes(LARGE))

    async def slow(_request: Request) -> Response:
        await made[0].release.wait()
        return PlainTextResponse("done")

    async def echo(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    routes = [Route("/large", large), Route("/slow", slow), Route("/echo", echo, methods=["POST"])]
    metrics = Metrics(version="1", pack="opencv-zoo", runtime="onnxruntime")
    app = application(metrics.registry, Health(), routes)

    async with serving(app, "127.0.0.1", 0, connections) as address:
        site = Site(address, connections)
        connections._observer = site
        made.append(site)
        yield site
        site.release.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens inside the server
            await asyncio.sleep(0.02)


async def test_half_requests_give_way_to_whole_ones() -> None:
    """Five hundred clients send half a request: the allowed number stays connected, others are served."""
    async with server() as site:
        halves = [await site.open(HALF) for _ in range(500)]
        assert len(site.connections) <= 20
        for _ in range(5):
            assert await site.ok()
            assert await site.ok("127.0.0.2")
        assert site.ended["evicted"] >= 480
        for _, writer in halves:
            writer.close()
        await until(lambda: len(site.connections) == 0)


async def test_many_clients_together_stay_below_the_total() -> None:
    """Each is below its own limit; the oldest half request of the client with the most gives way."""
    async with server() as site:
        halves = [await site.open(HALF, f"127.0.1.{number % 10 + 1}") for number in range(100)]
        await until(lambda: site.ended["evicted"] == 60)
        assert len(site.connections) == 40
        assert await site.ok("127.0.2.1")
        assert len(halves) == 100


async def test_where_all_are_busy_a_new_connection_is_refused_with_503() -> None:
    """Requests in progress are not ended for it; afterwards there is room again."""
    async with server(per_client=16) as site:
        busy = [await site.open(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(16)]
        await until(
            lambda: all(
                not one.waits_for_request for own in site.connections._by_client.values() for one in own
            )
        )
        reader, _ = await site.open(b"")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after" in answer
        assert site.ended["refused"] == 1
        assert await site.ok("127.0.0.2")
        site.release.set()
        for reader, writer in busy:
            assert b"200 OK" in await reader.readuntil(b"\r\n")
            writer.close()
        await until(lambda: len(site.connections) == 0)
        assert await site.ok()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"G",
        HALF,
        HEAD + b"\r\n" + HALF,
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc",
    ],
    ids=["nothing", "a letter", "half a head", "a second half", "a body that nobody reads"],
)
async def test_a_request_has_a_deadline(data: bytes) -> None:
    """Also where a byte comes again and again: the connection is ended, with 408 where no answer went out."""
    async with server(request_seconds=1) as site:
        reader, writer = await site.open(data)

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.2)
                writer.write(b"a")

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(15):
            answer = b""
            try:
                answer = await reader.read()
            except ConnectionError:
                assert b"POST" in data
        dripping.cancel()
        if data in (b"", b"G", HALF):
            assert answer.startswith(b"HTTP/1.1 408 ")
        assert site.ended["slow_request"] == 1
        assert len(site.connections) == 0


async def test_a_client_that_never_reads_is_cut_off() -> None:
    """The answer is larger than all buffers; the memory and the connection are free again."""
    async with server(write_seconds=1) as site:
        raw = socket.create_connection(("127.0.0.1", site.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: site.ended["slow_reader"] == 1)
        await until(lambda: len(site.connections) == 0)
        raw.close()
        async with httpx.AsyncClient() as client:
            assert len((await client.get(f"{site.address}/large")).content) == LARGE


async def test_slow_clients_do_not_hold_up_the_end() -> None:
    """Half requests, idle connections and a reader that does not read are left behind."""
    async with asyncio.timeout(20):
        async with server() as site:
            large = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
            left = [await site.open(data) for data in (b"", HALF, HEAD + b"\r\n", large, b"\r\n\x00\r\n")]
            await asyncio.sleep(0.1)
    assert len(left) == 5


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        (b"GET ftp://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            200,
        ),
        (
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            200,
        ),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_requests_of_every_kind_have_one_answer(request_line: bytes, status: int) -> None:
    """Old, absolute and malformed ones; the next client is served as ever."""
    async with server() as site:
        reader, writer = await site.open(request_line)
        async with asyncio.timeout(10):
            first = await reader.readuntil(b"\r\n")
        assert first.split()[1] == str(status).encode()
        writer.close()
        assert await site.ok()


@pytest.mark.parametrize("start", [b"", b"GET /", HEAD + b"X: "])
async def test_a_head_without_an_end_ends_the_connection(start: bytes) -> None:
    """Ten megabytes of it; the daemon does not collect them."""
    async with server() as site:
        _, writer = await site.open(start)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"a" * 100_000)
                await writer.drain()
        await until(lambda: len(site.connections) == 0)
        assert await site.ok()


async def test_requests_in_a_row_on_one_connection_are_answered_in_order() -> None:
    """A hundred, sent without waiting for an answer."""
    async with server() as site:
        reader, writer = await site.open((HEAD + b"\r\n") * 99 + HEAD + b"Connection: close\r\n\r\n")
        async with asyncio.timeout(20):
            answer = b""
            while part := await reader.read(65536):
                answer += part
        assert len(re.findall(rb"HTTP/1.1 200 OK", answer)) == 100
        writer.close()


async def test_garbage_after_a_request_ends_the_connection_alone() -> None:
    """While the answer is on its way, and after it."""
    async with server() as site:
        for data in (
            b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x00\r\n\r\n",
            HEAD + b"\r\n\x00\r\n\r\n",
        ):
            _, writer = await site.open(data)
            await asyncio.sleep(0.05)
            site.release.set()
            await until(lambda: len(site.connections) == 0)
            writer.close()
        assert await site.ok()
