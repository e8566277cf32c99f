"""Thumbnails sent to URLs outside the uploads, here of a real HTTP server."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.types import Rectangle
from store import BadValueError, Image, UploadError
from store.errors import PictureRefusedError
from store.uploads import external
from store.uploads.external import AllowedHosts
from tests.mongo import StoreArguments
from tests.sightings import photo


class Receiver(ThreadingHTTPServer):
    """An HTTP server that keeps what is PUT to it, and answers with the status at the end of the path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received[self.path] = data, dict(self.headers)
        status = int(self.path.rpartition("/")[2].partition("?")[0])
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{self.server.url}/redirected/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_sends_a_thumbnail_to_an_allowed_host(
    receiver: Receiver, store_settings: StoreArguments
) -> None:
    """The JPEG arrives by PUT at the complete URL; the face's own links do not change."""
    eface: dict[str, Any] = {"bbox": Rectangle(0, 0, 50, 60)}
    async with store_settings.open(thumbnail_hosts=[f"127.0.0.1:{receiver.server_port}"]) as ctx:
        await ctx.faces.upload_thumbnail(eface, Image(photo()), url=f"{receiver.url}/a%20b/201?key=1")
    data, headers = receiver.received["/a%20b/201?key=1"]
    assert Image(data).pixels.shape == (60, 50, 3)
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Host"] == f"127.0.0.1:{receiver.server_port}"
    assert set(eface) == {"bbox"}


async def test_no_host_is_allowed_by_default(receiver: Receiver, store_settings: StoreArguments) -> None:
    """The error names the host and the setting, and nothing is sent."""
    async with store_settings.open() as ctx:
        for url in (f"{receiver.url}/200", f"http://localhost:{receiver.server_port}/200"):
            with pytest.raises(BadValueError, match=r"not allowed.*uploads\.thumbnail_hosts"):
                await ctx.faces.upload_thumbnail({"bbox": Rectangle(0, 0, 9, 9)}, Image(photo()), url=url)
    assert not receiver.received


@pytest.mark.parametrize(
    ("status", "error"),
    [(302, PictureRefusedError), (307, PictureRefusedError), (403, PictureRefusedError), (503, UploadError)],
)
async def test_an_unsuccessful_status_is_an_error(
    receiver: Receiver, status: int, error: type[Exception]
) -> None:
    """Redirects are not followed. The message omits the query, which may hold a signature."""
    hosts = AllowedHosts.parse(["127.0.0.1"])
    with pytest.raises(error, match=str(status)) as raised:
        await external.put(hosts, f"{receiver.url}/x/{status}?signature=hush", b"x", "image/jpeg")
    assert "hush" not in str(raised.value)
    assert set(receiver.received) == {f"/x/{status}?signature=hush"}


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        (["127.0.0.1"], ["pictures.example"]),
        (["169.254.169.254"], ["pictures.example"]),
        (["10.0.0.5"], ["pictures.example:80"]),
        (["93.184.215.14", "192.168.1.1"], ["pictures.example"]),
        (["::1"], ["pictures.example"]),
        (["::ffff:127.0.0.1"], ["pictures.example"]),
        (["64:ff9b::7f00:1"], ["pictures.example"]),
        (["10.0.0.5"], ["pictures.example", "10.0.1.0/24"]),
    ],
)
async def test_a_name_that_resolves_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], allowed: list[str]
) -> None:
    """An allowed name gives no access to private addresses; these must be listed themselves."""
    resolve_to(monkeypatch, addresses)
    with pytest.raises(BadValueError, match=r"not public.*thumbnail_hosts"):
        await external.put(AllowedHosts.parse(allowed), "http://pictures.example/x", b"x", "image/jpeg")


async def test_the_connection_is_made_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """The name is resolved once; the server sees the name in the Host header."""
    resolved = resolve_to(monkeypatch, ["127.0.0.1"])
    hosts = AllowedHosts.parse(["pictures.example", "127.0.0.0/8"])
    url = f"http://pictures.example:{receiver.server_port}/200"
    await external.put(hosts, url, b"x", "image/jpeg")
    assert resolved == ["pictures.example"]
    assert receiver.received["/200"][1]["Host"] == f"pictures.example:{receiver.server_port}"


async def test_a_server_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One timeout covers the whole attempt; a refused connection is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patched:
        patched.setattr(external, "TIMEOUT_SECONDS", 0.2)
        port = silent.getsockname()[1]
        with pytest.raises(UploadError, match="try again later"):
            url = f"http://127.0.0.1:{port}/x"
            await external.put(AllowedHosts.parse(["127.0.0.1"]), url, b"x", "image/jpeg")
    with pytest.raises(UploadError, match="cannot be reached"):
        await external.put(AllowedHosts.parse(["127.0.0.1"]), url, b"x", "image/jpeg")


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h/x", "http://", "https:///x", "http://u:p@h/x", "http://h:99999/x", "http://h/a b", "x"),
        *(
            "http://h\\@127.0.0.1/x",
            "http://[::1/x",
            "http://2130706433/x",
            "http://0x7f000001/x",
            "http://h./x",
        ),
    ],
)
async def test_other_urls_are_refused(url: str) -> None:
    """Malformed URLs, other schemes, URLs with user and password, and other spellings of an address."""
    with pytest.raises(BadValueError):
        await external.put(AllowedHosts.parse(["h", "x"]), url, b"x", "image/jpeg")


@pytest.mark.parametrize(
    "entry",
    [
        *("http://h", "h/x", "", "u@h", "h:port", "10.0.0.0/99", "a b", "a..b", "-a", "1.2.3", "h:0", "h:"),
        *("ftp://bob:hush@h/x", "bob:hush@h"),
    ],
)
def test_an_invalid_entry_is_named(entry: str) -> None:
    """The error names the entry, without its password."""
    with pytest.raises(ValueError, match="not a host") as refused:
        AllowedHosts.parse([entry])
    assert "hush" not in str(refused.value)


def test_entries_are_hosts_ports_addresses_and_networks() -> None:
    """Host names are compared without regard to case."""
    hosts = AllowedHosts.parse(["Box.LAN", "nas:8080", "[::1]:80", "10.0.0.0/8", "192.168.0.7"])
    assert hosts.allows_name("box.lan", 443)
    assert hosts.allows_name("nas", 8080)
    assert not hosts.allows_name("nas", 80)
    assert hosts.allows_name("::1", 80)
    assert len(hosts.networks) == 2


@pytest.mark.parametrize(
    "url",
    ["ftp://bob:hush@h/x", "ftp://h/x?X-Amz-Signature=hush", "x://bob:hush@h", "http://a..b/?token=hush"],
)
async def test_a_refused_url_shows_no_secret(url: str) -> None:
    """The message contains neither a password nor the query."""
    with pytest.raises(BadValueError) as refused:
        await external.put(AllowedHosts.parse(["h"]), url, b"x", "image/jpeg")
    assert "hush" not in str(refused.value)


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[str]:
    """Makes every name resolve to these addresses; returns the list of resolved names."""
    resolved: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: (
            getaddrinfo(host, *rest, **more) if host == "pictures.example" else real(host, *rest, **more)
        ),
    )
    return resolved
