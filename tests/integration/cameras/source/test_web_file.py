"""Recordings and playlists of web servers; the server is real, its answers are written by hand."""

import io
import itertools
import re
import time
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame
from tests.scripted_http import Handler, HttpRequest, ScriptedHttp, answer, scripted_http

PICTURES = 50


def recording(container_format: str) -> bytes:
    """The index of an MP4 file is at its end."""
    written = io.BytesIO()
    with av.open(written, "w", format=container_format) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        stream.options = {"crf": "10", "preset": "ultrafast", "g": "10"}
        noise = np.random.default_rng(1)
        for _ in range(PICTURES):
            picture = noise.integers(0, 255, (240, 320, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return written.getvalue()


MP4, SEGMENT = recording("mp4"), recording("mpegts")


def part_of(data: bytes, request: HttpRequest) -> bytes:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if found is None:
        return answer(data, Accept_Ranges="bytes", Content_Type="video/mp4")
    start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
    place = f"bytes {start}-{end}/{len(data)}"
    return answer(data[start : end + 1], "206 Partial Content", Content_Range=place)


def playlist(*segments: str, ends: bool = True) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:4", "#EXT-X-TARGETDURATION:2"]
    lines += [f"#EXTINF:2.0,\n{segment}" for segment in segments]
    return answer("\n".join([*lines, "#EXT-X-ENDLIST" if ends else ""]).encode())


def read(server: ScriptedHttp, path: str, login: str = "") -> int:
    """Number of pictures up to the end. Raises SourceError."""
    timeouts = {"connect_timeout_seconds": 4, "read_timeout_seconds": 3}
    settings = CameraSettings.model_validate({"id": "hall", "url": server.url(path, login), **timeouts})
    with closing(FFmpegSource(settings)) as source:
        return sum(isinstance(item, DecodedFrame) for item in source.frames())


def gaps(server: ScriptedHttp) -> list[float]:
    return [after - before for before, after in itertools.pairwise(server.connected_at)]


@pytest.mark.parametrize("closes", [False, True])
def test_a_recording_whose_index_is_at_its_end_is_read_whole(closes: bool) -> None:
    """With no more than one connection a second, also if the server closes each one."""
    ending = [b""] if closes else []
    with scripted_http(lambda request: [part_of(MP4, request), *ending]) as server:
        assert read(server, "a.mp4") == PICTURES
        assert len(server.requests) > 1 and min(gaps(server), default=1.0) > 0.95


def test_a_playlist_is_read_over_one_connection_with_the_login() -> None:
    """Whole segments and parts of a file."""
    half = len(SEGMENT) // 188 // 2 * 188

    def handler(request: HttpRequest) -> list[bytes]:
        if "authorization" not in request.headers:
            return [answer(status="401 Unauthorized", WWW_Authenticate='Basic realm="c"')]
        if request.path == "/a.m3u8":
            lengths = [(half, 0), (len(SEGMENT) - half, half)]
            parts = [f"#EXT-X-BYTERANGE:{length}@{start}\na.ts" for length, start in lengths]
            return [playlist("a.ts", *parts)]
        return [part_of(SEGMENT, request)]

    with scripted_http(handler) as server:
        assert read(server, "a.m3u8", "admin:x@") == 2 * PICTURES
        assert len(server.connected_at) == 1


def missing(request: HttpRequest) -> list[bytes]:
    if request.path == "/a.m3u8":
        return [playlist(*(f"{number}.ts" for number in range(50)))]
    return [answer(status="404 Not Found"), b""]


def endless(request: HttpRequest) -> list[bytes]:
    lines = "#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nc.m3u8"
    return [answer(f"#EXTM3U\n{lines}\n".encode()), b""]


def other_protocol(request: HttpRequest) -> list[bytes]:
    return [playlist("ftp://127.0.0.1/a.ts")]


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(missing, Reason.NOT_FOUND), (endless, Reason.TIMEOUT), (other_protocol, None)],
)
def test_a_playlist_does_not_make_more_than_one_connection_a_second(
    handler: Handler, reason: Reason | None
) -> None:
    """Whatever it names; the first failure is the reason."""
    with scripted_http(handler) as server:
        began = time.monotonic()
        with pytest.raises(SourceError) as caught:
            read(server, "a.m3u8")
        assert reason is None or caught.value.reason is reason
        assert time.monotonic() - began < 20
        assert min(gaps(server), default=1.0) > 0.95
