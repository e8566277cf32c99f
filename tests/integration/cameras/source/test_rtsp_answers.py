"""Unusual responses of RTSP servers; the server is real, its responses are scripted."""

import hashlib
import itertools
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from cameras.errors import Reason, SourceError
from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import UnobservedCamera
from cameras.settings import CameraSettings
from cameras.source.connection_hints import ConnectionHints
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame
from tests.scripted_rtsp import SDP, Answer, Request, Script, ScriptedRtsp, scripted_rtsp

BASIC = 'WWW-Authenticate: Basic realm="cam"'
MD5 = 'WWW-Authenticate: Digest realm="cam", nonce="abc", algorithm=MD5, qop="auth"'
SHA256 = 'WWW-Authenticate: Digest realm="cam", nonce="abc", algorithm=SHA-256, qop="auth"'
NEGOTIATE = "WWW-Authenticate: Negotiate"


def camera(url: str, **settings: object) -> CameraSettings:
    timeouts = {"connect_timeout_seconds": 4, "read_timeout_seconds": 2}
    return CameraSettings.model_validate({"id": "hall", "url": url, **timeouts, **settings})


def opened(settings: CameraSettings, hints: ConnectionHints | None = None, frames: int = 3) -> FFmpegSource:
    """A source that has delivered frames."""
    source = FFmpegSource(settings, hints=hints)
    with closing(source):
        found = (item for item in source.frames() if isinstance(item, DecodedFrame))
        assert len(list(itertools.islice(found, frames))) == frames
    return source


def failure(settings: CameraSettings, hints: ConnectionHints | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        FFmpegSource(settings, hints=hints)
    return caught.value


def wants_login(*offered: str, password: str = "x") -> Script:  # noqa: S107 - of the test's server
    """A script that accepts the user admin after checking the digest."""

    def script(request: Request) -> Answer | None:
        if request.method == "OPTIONS" or is_valid(request, password):
            return None
        return Answer("401 Unauthorized", offered)

    return script


def is_valid(request: Request, password: str) -> bool:
    header = request.headers.get("authorization", "")
    if header.startswith("Basic "):
        return header == {"": "Basic YWRtaW46", "x": "Basic YWRtaW46eA=="}[password]
    fields = dict(re.findall(r'(\w+)="?([^",]*)', header))
    if fields.get("username") != "admin" or fields.get("uri") != request.url:
        return False
    new = hashlib.sha256 if fields.get("algorithm") == "SHA-256" else hashlib.md5
    key = new(f"admin:cam:{password}".encode()).hexdigest()
    action = new(f"{request.method}:{request.url}".encode()).hexdigest()
    middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
    return fields["response"] == new(f"{key}:{middle}:{action}".encode()).hexdigest()


@pytest.mark.parametrize(
    "offered",
    [
        (BASIC,),
        (MD5,),
        (SHA256,),
        (SHA256, MD5),
        (MD5, SHA256),
        (SHA256, BASIC),
        (BASIC, SHA256),
        (NEGOTIATE, MD5),
    ],
)
@pytest.mark.parametrize("password", ["x", ""])
def test_every_supported_login_is_sent(offered: tuple[str, ...], password: str) -> None:
    """Alone and together with others, in any order, and with an empty password."""
    with scripted_rtsp(wants_login(*offered, password=password)) as server:
        opened(camera(server.url(f"admin:{password}@")))


def test_an_unsupported_login_is_unsupported_not_unauthorized() -> None:
    """The message says what the camera offers and what to change."""
    with scripted_rtsp(wants_login(NEGOTIATE)) as server:
        error = failure(camera(server.url("admin:x@")))
    assert error.reason is Reason.UNSUPPORTED
    assert "offers Negotiate; allow Digest or Basic" in str(error)


@pytest.mark.parametrize(
    ("login", "sentence"),
    [("", "requires a login and none is set"), ("admin:wrong@", "wrong user or password")],
)
def test_a_missing_and_a_wrong_login_have_different_messages(login: str, sentence: str) -> None:
    """Both are unauthorized."""
    with scripted_rtsp(wants_login(MD5)) as server:
        error = failure(camera(server.url(login)))
    assert error.reason is Reason.UNAUTHORIZED and sentence in str(error)


@pytest.mark.parametrize("method", ["DESCRIBE", "SETUP", "PLAY"])
@pytest.mark.parametrize("status", ["453 Not Enough Bandwidth", "503 Service Unavailable"])
def test_too_many_viewers_is_busy(method: str, status: str) -> None:
    """At any request."""
    with scripted_rtsp(lambda request: Answer(status) if request.method == method else None) as server:
        error = failure(camera(server.url()))
    assert error.reason is Reason.BUSY and "too many viewers" in str(error) and status in str(error)


def refuses(transport: str) -> Script:
    def script(request: Request) -> Answer | None:
        is_tcp = "TCP" in request.headers.get("transport", "")
        refused = request.method == "SETUP" and is_tcp == (transport == "tcp")
        return Answer("461 Unsupported Transport") if refused else None

    return script


@pytest.mark.parametrize(("refused", "works"), [("tcp", "udp"), ("udp", "tcp")])
def test_auto_finds_the_transport_that_works_and_remembers_it(refused: str, works: str) -> None:
    """The second connection tries only this transport."""
    hints = ConnectionHints(transport="udp" if refused == "udp" else "tcp")
    with scripted_rtsp(refuses(refused)) as server:
        opened(camera(server.url()), hints)
        assert hints.transport == works
        server.requests.clear()
        opened(camera(server.url()), hints)
        assert server.methods().count("SETUP") == 1


def test_a_camera_that_answers_tcp_with_udp_is_read_over_udp() -> None:
    """FFmpeg reports a nonmatching transport."""

    def script(request: Request) -> Answer | None:
        if request.method != "SETUP" or "TCP" not in request.headers["transport"]:
            return None
        udp = "Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001"
        return Answer(headers=("Session: 7", udp))

    with scripted_rtsp(script) as server:
        opened(camera(server.url()))


def test_a_refused_transport_is_busy_only_if_there_is_no_other() -> None:
    """With `auto` both were tried; a configured transport is in the message."""
    with scripted_rtsp(lambda r: Answer("461 Unsupported") if r.method == "SETUP" else None) as server:
        error = failure(camera(server.url()))
        assert error.reason is Reason.BUSY and "too many viewers" in str(error)
        error = failure(camera(server.url(), id="door", transport="tcp"))
    assert error.reason is Reason.UNSUPPORTED and 'transport = "auto"' in str(error)


def test_the_payload_type_that_arrives_is_read() -> None:
    """Either of two in one line; the second connection expects it from the start."""
    sdp = SDP.replace(
        "RTP/AVP 96\r\n", "RTP/AVP 98 96 97\r\na=rtpmap:98 H265/90000\r\na=rtpmap:97 rtx/90000\r\n"
    )
    hints = ConnectionHints()
    with scripted_rtsp(sdp=sdp) as server:
        opened(camera(server.url()), hints)
        before = len(server.connected_at)
        opened(camera(server.url()), hints)
        assert (before, len(server.connected_at)) == (2, 3)


def test_a_redirect_is_followed_with_the_login_of_the_same_host() -> None:
    """Relative and absolute."""
    for location in ("/new", "rtsp://127.0.0.1:{port}/new"):
        with scripted_rtsp() as server:
            server.script = redirecting(server, location, wants_login(BASIC))
            opened(camera(server.url("admin:x@")))
            assert "authorization" in server.requests[-1].headers


def redirecting(server: ScriptedRtsp, location: str, otherwise: Script) -> Script:
    def script(request: Request) -> Answer | None:
        if request.method == "DESCRIBE" and request.url.endswith("/stream"):
            return Answer("302 Found", (f"Location: {location.format(port=server.port)}",))
        return otherwise(request)

    return script


def test_a_redirect_to_another_host_drops_the_password() -> None:
    """`localhost` is another host than 127.0.0.1."""
    with scripted_rtsp(wants_login(BASIC)) as other, scripted_rtsp() as server:
        target = f"rtsp://localhost:{other.port}/new"
        server.script = redirecting(server, target, wants_login(BASIC))
        error = failure(camera(server.url("admin:x@")))
        assert error.reason is Reason.UNAUTHORIZED
        assert other.requests and not any("authorization" in request.headers for request in other.requests)


@pytest.mark.parametrize("location", ["{url}", "{url}?n={n}", "http://127.0.0.1/", ""])
def test_invalid_redirects_are_refused(location: str) -> None:
    """In a circle, too many, to another protocol, without a target."""
    numbers = itertools.count()

    def script(request: Request) -> Answer | None:
        target = location.format(url=server.url(), n=next(numbers))
        return Answer("302 Found", (f"Location: {target}",)) if request.method == "DESCRIBE" else None

    with scripted_rtsp() as server:
        server.script = script
        error = failure(camera(server.url()))
        assert error.reason is Reason.REDIRECT
        assert len(server.connected_at) <= 4
        assert min(gaps(server), default=1.0) > 0.95


def gaps(server: ScriptedRtsp) -> list[float]:
    return [after - before for before, after in itertools.pairwise(server.connected_at)]


@pytest.fixture
def reading() -> Iterator[list[CameraHandler]]:
    handlers: list[CameraHandler] = []
    yield handlers
    for handler in handlers:
        handler.stop(5.0)


@pytest.mark.parametrize("kind", ["circle", "unauthorized", "busy", "closed", "unsupported"])
def test_no_camera_gets_more_than_one_connection_a_second(reading: list[CameraHandler], kind: str) -> None:
    """For any response."""

    def script(request: Request) -> Answer | None:
        match kind:
            case "circle":
                return Answer("302 Found", (f"Location: {server.url()}",))
            case "unauthorized":
                return Answer("401 Unauthorized", (MD5,))
            case "busy":
                return Answer("453 Not Enough Bandwidth")
            case "unsupported":
                return Answer("461 Unsupported") if request.method == "SETUP" else None
            case _:
                raise OSError

    with scripted_rtsp() as server:
        server.script = script
        settings = camera(server.url("admin:x@"), id=f"hall-{kind}")
        handler = CameraHandler(settings, LatestFrame(settings.id), UnobservedCamera())
        reading.append(handler)
        handler.start()
        time.sleep(5)
        assert len(server.connected_at) >= 1
        assert min(gaps(server), default=1.0) > 0.95


def test_the_relays_thread_ends_with_the_session() -> None:
    """Also if opening fails."""
    with scripted_rtsp() as server:
        opened(camera(server.url()))
        server.script = lambda request: Answer("404 Not Found")
        failure(camera(server.url()))
    assert not [thread for thread in threading.enumerate() if thread.name == "rtsp hall"]
