"""Opens the URL of a web server; the type of the response decides how."""

import re
from collections.abc import Iterator
from itertools import chain, islice

import httpx
from av.container import InputContainer

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.container import open_container, open_pictures
from cameras.source.http.client import HttpClient
from cameras.source.http.jpeg_streams import PictureFile, motion_jpeg, polled
from cameras.source.http.web_file import WebFiles
from cameras.source.tls import is_checked

_PICTURE_TYPES = ("multipart/", "image/jp", "image/pjpeg", "video/x-motion-jpeg")
_PICTURE_DATA = re.compile(rb"[\t\r\n\x20-\x7e]*\xff\xd8\xff")
"""The start of a JPEG picture, after the head of a part."""
_PART_HEAD = re.compile(rb"\s*(--|content-|x-)[\t\r\n\x20-\x7e]*", re.IGNORECASE)
_MAX_PART_HEAD_BYTES = 1024
_FFMPEG_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""Its connections are ours, see `cameras.source.http.web_file`."""


class HttpStream:
    """An open stream of a web server."""

    def __init__(
        self, container: InputContainer, client: HttpClient, interval_seconds: float | None = None
    ) -> None:
        self.container = container
        self.interval_seconds = interval_seconds
        """Polling interval of a snapshot; None for a stream."""
        self._client = client

    def received(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.container.close()
        self._client.close()


def open_http(settings: CameraSettings) -> HttpStream:
    """Open motion JPEG, a snapshot, a recording or a playlist.

    Raises:
        SourceError: the URL cannot be opened.
    """
    client = HttpClient(settings)
    try:
        response = client.get()
        body = client.chunks(response)
        if _content_type(response).startswith(_PICTURE_TYPES):
            return _open_pictures(settings, client, response, body)
        head, body = _first_bytes(body)
        if _PICTURE_DATA.match(head):
            return _open_pictures(settings, client, response, body)
        if _content_type(response).startswith(("text/html", "image/")):
            kind = _content_type(response).partition(";")[0]
            message = f"the response is {kind:.40}, neither a video nor a JPEG picture; check the path"
            raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: {message}")
        return HttpStream(
            _open_with_ffmpeg(settings, client, WebFiles(settings, client, response, body)), client
        )
    except BaseException:
        client.close()
        raise


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).lower()


def _first_bytes(body: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """What shows whether this is a picture, and the body from its start."""
    chunks: list[bytes] = []
    head = b""
    for chunk in body:
        chunks.append(chunk)
        head += chunk
        is_part_head = _PART_HEAD.fullmatch(head) is not None and len(head) < _MAX_PART_HEAD_BYTES
        if len(head) >= len(b"\xff\xd8\xff") and not is_part_head:
            break
    return head, chain(chunks, body)


def _open_pictures(
    settings: CameraSettings, client: HttpClient, response: httpx.Response, body: Iterator[bytes]
) -> HttpStream:
    """A stream of pictures, or one picture that is polled: a response of one picture that ends."""
    pictures = motion_jpeg(body)
    interval = None
    # Waiting for a second picture would delay the first one of a slow stream.
    if "Content-Length" in response.headers or not _content_type(response).startswith("multipart/"):
        first = list(islice(pictures, 2))
        if not first:
            raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: the response is not a JPEG picture")
        interval = settings.interval_seconds if len(first) == 1 else None
        pictures = chain(first, pictures)
    file = PictureFile(polled(client, response, pictures, settings))
    return HttpStream(open_pictures(settings, file), client, interval)


def _open_with_ffmpeg(settings: CameraSettings, client: HttpClient, files: WebFiles) -> InputContainer:
    # Without user and password: the client sends them.
    url = str(client.url)
    container = open_container(settings, url, _FFMPEG_OPTIONS, open_file=files.open)
    files.stop_deadline()
    if is_checked(settings) and "dash" in container.format.name.split(","):
        container.close()
        # FFmpeg opens the segments of DASH by itself, and does not apply the TLS options to them.
        message = "FFmpeg does not check the certificates of DASH segments; to allow it: tls_verify = false"
        raise SourceError(Reason.UNSUPPORTED, f"{settings.masked_url}: {message}")
    return container
