"""Motion JPEG and snapshots of a real web server with scripted responses."""

import io
import itertools
import time
from contextlib import closing

import numpy as np
import pytest
from PIL import ExifTags, Image

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame
from tests.scripted_http import Handler, HttpRequest, ScriptedHttp, answer, jpeg, scripted_http

PICTURES = [jpeg(number) for number in range(8)]


def camera(url: str, **settings: object) -> CameraSettings:
    timeouts = {"connect_timeout_seconds": 4, "read_timeout_seconds": 2}
    return CameraSettings.model_validate({"id": "hall", "url": url, **timeouts, **settings})


def frames(settings: CameraSettings, count: int) -> list[DecodedFrame]:
    """Up to `count` frames; fewer if the stream ends."""
    found: list[DecodedFrame] = []
    with closing(FFmpegSource(settings)) as source:
        try:
            decoded = (item for item in source.frames() if isinstance(item, DecodedFrame))
            found.extend(itertools.islice(decoded, count))
        except SourceError as error:
            if error.reason is not Reason.ENDED:
                raise
    return found


def part(picture: bytes, *headers: bytes, boundary: bytes = b"--frame", end: bytes = b"\r\n") -> bytes:
    return end.join([boundary, *headers, b"", picture, b""])


TYPE = b"Content-Type: image/jpeg"


def length(picture: bytes, more: int = 0) -> bytes:
    return b"Content-Length: %d" % (len(picture) + more)


PLAIN = [part(picture, TYPE, length(picture)) for picture in PICTURES]
TEXT = part(b"hello", b"Content-Type: text/plain", b"Content-Length: 5")
WHOLE = b"".join(PLAIN)

STREAMS = {
    "plain": PLAIN,
    "no first boundary": [PLAIN[0].removeprefix(b"--frame\r\n"), *PLAIN[1:]],
    "no head before the first": [PICTURES[0], *PLAIN[1:]],
    "no lengths": [part(picture, TYPE) for picture in PICTURES],
    "no types": [part(picture, length(picture)) for picture in PICTURES],
    "no headers": [part(picture) for picture in PICTURES],
    "image/jpg": [part(picture, b"Content-Type: image/jpg", length(picture)) for picture in PICTURES],
    "too long": [part(picture, TYPE, length(picture, 10)) for picture in PICTURES],
    "too short": [part(picture, TYPE, length(picture, -10)) for picture in PICTURES],
    "negative": [part(picture, TYPE, b"Content-Length: -1") for picture in PICTURES],
    "text between": [piece for picture in PLAIN for piece in (TEXT, picture)],
    "line feeds": [part(picture, TYPE, length(picture), end=b"\n") for picture in PICTURES],
    "another boundary": [part(picture, TYPE, boundary=b"--other") for picture in PICTURES],
    "no boundaries": list(PICTURES),
    "small pieces": [WHOLE[at : at + 100] for at in range(0, len(WHOLE), 100)],
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize(
    "content_type",
    ["multipart/x-mixed-replace; boundary=frame", "image/jpeg", "application/octet-stream", "text/html", ""],
)
def test_every_picture_of_an_invalid_multipart_stream_arrives(kind: str, content_type: str) -> None:
    """For any separators and content types."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode()
    with scripted_http(lambda request: [head, *STREAMS[kind], b""]) as server:
        assert len(frames(camera(server.url()), 100)) == len(PICTURES)


@pytest.mark.parametrize("tag", [1, 3, 5, 6])
def test_pictures_are_shown_upright_by_their_exif_orientation(tag: int) -> None:
    """Transposed, turned, or neither; as cameras in phones send them."""
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 255
    stored = {1: upright, 3: upright[::-1, ::-1], 5: upright.swapaxes(0, 1), 6: np.rot90(upright)}[tag]
    exif, made = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = tag
    Image.fromarray(np.ascontiguousarray(stored)).save(made, "JPEG", exif=exif)
    with scripted_http(lambda request: [answer(made.getvalue(), Content_Type="image/jpeg")]) as server:
        picture = frames(camera(server.url()), 1)[0].pixels.bgr()
    assert picture.shape == upright.shape
    assert abs(picture.astype(int) - upright).mean() < 10


def snapshot(request: HttpRequest) -> list[bytes]:
    return [answer(PICTURES[0], Content_Type="image/jpeg")]


def test_a_snapshot_is_polled_over_one_connection() -> None:
    """Every interval_seconds; the URL need not end with .jpg."""
    with scripted_http(snapshot) as server:
        began = time.monotonic()
        found = frames(camera(server.url(), interval_seconds=0.2), 5)
        assert len(found) == 5 and len(server.connected_at) == 1
        assert 0.75 < time.monotonic() - began < 3


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "text/html", "multipart/mixed"])
def test_a_snapshot_is_recognised_by_its_data(content_type: str) -> None:
    """Whatever the server calls it, and as the only part of a multipart answer."""
    body = PLAIN[0] if content_type == "multipart/mixed" else PICTURES[0]
    with scripted_http(lambda request: [answer(body, Content_Type=content_type)]) as server:
        assert len(frames(camera(server.url(), interval_seconds=0.1), 3)) == 3
        assert len(server.connected_at) == 1


def test_an_answer_that_is_encoded_in_name_only_is_read() -> None:
    """The client asked for no encoding."""
    with scripted_http(lambda request: [answer(PICTURES[0], Content_Encoding="gzip")]) as server:
        assert len(frames(camera(server.url(), interval_seconds=0.1), 2)) == 2


def test_an_unchanged_snapshot_is_not_sent_again() -> None:
    """The request contains the ETag; the previous picture is repeated."""

    def handler(request: HttpRequest) -> list[bytes]:
        if request.headers.get("if-none-match") == '"7"':
            return [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
        return [answer(PICTURES[0], Content_Type="image/jpeg", ETag='"7"')]

    with scripted_http(handler) as server:
        assert len(frames(camera(server.url("snap.jpg"), interval_seconds=0.1), 4)) == 4
        assert len(server.connected_at) == 1
        assert [request.headers.get("if-none-match") for request in server.requests[:3]] == [
            None,
            '"7"',
            '"7"',
        ]


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {}])
def test_a_snapshot_server_that_closes_connections_is_polled_once_a_second_at_most(
    headers: dict[str, str],
) -> None:
    """Cameras cannot handle more connections."""
    closing_answer = [answer(PICTURES[0], Content_Type="image/jpeg", **headers), b""]
    with scripted_http(lambda request: closing_answer) as server:
        assert len(frames(camera(server.url(), interval_seconds=0.1), 3)) == 3
        assert min(gaps(server)) > 0.95


@pytest.mark.parametrize(
    ("status", "header"),
    [("401 Unauthorized", 'Digest realm="c", nonce="n"'), ("302 Found", "/next")],
)
def test_a_server_that_closes_without_notice_is_asked_again_after_a_second(status: str, header: str) -> None:
    """With a login, or at the URL of a redirect."""

    def handler(request: HttpRequest) -> list[bytes]:
        if request.path == "/next" or "authorization" in request.headers:
            return snapshot(request)
        name = "Location" if status.startswith("3") else "WWW_Authenticate"
        return [answer(status=status, **{name: header}), b""]

    with scripted_http(handler) as server:
        assert len(frames(camera(server.url(login="admin:x@")), 1)) == 1
        assert len(server.connected_at) == 2 and min(gaps(server)) > 0.95


def gaps(server: ScriptedHttp) -> list[float]:
    return [after - before for before, after in itertools.pairwise(server.connected_at)]


@pytest.mark.parametrize(
    "offered", ['Basic realm="c"', 'Digest realm="c", nonce="n", algorithm=SHA-256, qop="auth"']
)
def test_a_login_is_sent_with_an_empty_password_too(offered: str) -> None:
    """On the same connection."""

    def handler(request: HttpRequest) -> list[bytes]:
        if "authorization" in request.headers:
            return snapshot(request)
        return [answer(b"no", "401 Unauthorized", WWW_Authenticate=offered)]

    with scripted_http(handler) as server:
        assert len(frames(camera(server.url(login="admin:@"), interval_seconds=0.1), 2)) == 2
        assert len(server.connected_at) == 1


def refusing(status: str, **headers: str) -> Handler:
    return lambda request: [answer(b"", status, **headers)]


@pytest.mark.parametrize(
    ("handler", "reason", "sentence"),
    [
        (refusing("401 Unauthorized", WWW_Authenticate="Basic"), Reason.UNAUTHORIZED, "none is set"),
        (refusing("403 Forbidden"), Reason.UNAUTHORIZED, "may not view"),
        (refusing("404 Not Found"), Reason.NOT_FOUND, "check the path"),
        (refusing("503 Service Unavailable"), Reason.BUSY, "too many viewers"),
        (refusing("302 Found", Location="/picture"), Reason.REDIRECT, "circle"),
        (refusing("302 Found", Location="rtsp://127.0.0.1/"), Reason.REDIRECT, "redirects to rtsp"),
        (lambda r: [answer(b"<html>", Content_Type="text/html")], Reason.CORRUPT, "text/html"),
        (lambda r: [answer(b"noise", Content_Type="image/jpeg")], Reason.CORRUPT, "not a JPEG"),
    ],
)
def test_a_refusal_has_its_reason(handler: Handler, reason: Reason, sentence: str) -> None:
    """With a single connection."""
    with scripted_http(handler) as server:
        with pytest.raises(SourceError, match=sentence) as caught:
            FFmpegSource(camera(server.url()))
        assert caught.value.reason is reason and len(server.connected_at) == 1


def test_a_redirect_to_another_host_drops_the_password() -> None:
    """`localhost` is another host than 127.0.0.1."""
    wants_login = refusing("401 Unauthorized", WWW_Authenticate="Basic")
    with scripted_http(wants_login) as other:
        target = other.url().replace("127.0.0.1", "localhost")
        redirecting = refusing("302 Found", Location=target)
        with scripted_http(redirecting) as server, pytest.raises(SourceError, match="none is set"):
            FFmpegSource(camera(server.url(login="admin:x@")))
        assert not any("authorization" in request.headers for request in other.requests)
