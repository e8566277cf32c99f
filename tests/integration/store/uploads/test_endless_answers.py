"""An upload server whose answers are too large, too slow or compressed."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from store.errors import UploadError
from store.uploads import http_requests
from store.uploads.webdav import WebDavUploads

PICTURE = "0123456789abcdef01234567/20260302/1_0123456789ab_photo.jpeg"
CHUNK = b"100000\r\n" + bytes(0x100000) + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CALLS: dict[str, Callable[[WebDavUploads], Awaitable[object]]] = {
    "get": lambda uploads: uploads.get(PICTURE),
    "location": lambda uploads: uploads.location(),
    "list_folders": lambda uploads: uploads.list_folders(),
}


@asynccontextmanager
async def serving(
    head: bytes, part: bytes, pause_seconds: float = 0.0, max_parts: int = 4096
) -> AsyncIterator[WebDavUploads]:
    """A server that answers every request with `head`, then with `part` again and again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head)
                for _ in range(max_parts):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause_seconds)
                return
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, httpx.AsyncClient() as client:
        port = server.sockets[0].getsockname()[1]
        yield WebDavUploads(client, f"http://127.0.0.1:{port}/")


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("name", ["location"])
async def test_a_large_answer_is_an_error(name: str) -> None:
    """A body without end is an UploadError once it exceeds its limit, and not kept in memory."""
    before = peak_mebibytes()
    async with serving(OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK) as uploads:
        with pytest.raises(UploadError, match=r"more than 65,536 bytes \(GET facend-location\)"):
            await CALLS[name](uploads)
    assert peak_mebibytes() - before < 100


async def test_a_large_picture_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is read up to its limit."""
    monkeypatch.setattr("store.uploads.webdav.MAX_PICTURE_BYTES", 3_000_000)
    async with serving(OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK) as uploads:
        with pytest.raises(UploadError, match="more than 3,000,000 bytes"):
            await uploads.get(PICTURE)


async def test_a_large_listing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that goes on inside one element is read up to its limit."""
    monkeypatch.setattr("store.uploads.webdav._MAX_LISTING_BYTES", 3_000_000)
    text = b"6\r\n<a><b>\r\n"
    filler = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    async with serving(OK + b"Transfer-Encoding: chunked\r\n\r\n" + text, filler) as uploads:
        with pytest.raises(UploadError, match="more than 3,000,000 bytes"):
            await uploads.list_folders()


async def test_the_body_of_a_stored_picture_is_not_needed() -> None:
    """A PUT is successful by its status, however long the answer is."""
    async with serving(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK) as uploads:
        assert (await uploads.put(PICTURE, b"x", "image/jpeg")).endswith(PICTURE)


async def test_the_body_of_an_error_is_not_needed() -> None:
    """An error is reported by its status, however long its page is."""
    async with serving(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK) as uploads:
        with pytest.raises(UploadError, match="503 Busy"):
            await uploads.get(PICTURE)


@pytest.mark.parametrize("name", CALLS)
async def test_an_answer_that_trickles_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, which no timeout between two reads notices, ends with an UploadError."""
    monkeypatch.setattr(http_requests, "ANSWER_SECONDS", -4.0)
    async with serving(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.05) as uploads:
        with pytest.raises(UploadError, match="slower than 16 KiB a second"):
            await CALLS[name](uploads)


async def test_headers_that_trickle_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do headers, and interim answers."""
    monkeypatch.setattr(http_requests, "ANSWER_SECONDS", -4.0)
    async with serving(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05) as uploads:
        with pytest.raises(UploadError, match="slower than 16 KiB a second"):
            await uploads.get(PICTURE)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_answer_is_an_error(coding: str) -> None:
    """A compressed body, a few bytes of which could fill the memory, was not requested."""
    head = OK + f"Content-Encoding: {coding}\r\nContent-Length: 9\r\n\r\n".encode()
    async with serving(head, b"123456789", max_parts=1) as uploads:
        with pytest.raises(UploadError, match="compressed"):
            await uploads.get(PICTURE)
