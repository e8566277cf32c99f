"""Opens the URL of a web server; the type of the response decides how."""

from collections.abc import Iterator
from itertools import chain

import httpx
from av.container import InputContainer

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.connection_hints import ConnectionHints
from cameras.source.connection_limiter import limited_connection
from cameras.source.container import open_container, open_pictures
from cameras.source.http.client import HttpClient
from cameras.source.http.jpeg_streams import PictureFile, motion_jpeg, snapshots
from cameras.source.tls import ffmpeg_options, is_checked


class HttpStream:
    """An open stream of a web server."""

    def __init__(
        self,
        container: InputContainer,
        client: HttpClient | None = None,
        interval_seconds: float | None = None,
    ) -> None:
        self.container = container
        self.interval_seconds = interval_seconds
        """Polling interval of a snapshot; None for a stream."""
        self._client = client

    def received(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.container.close()
        if self._client is not None:
            self._client.close()


def open_http(settings: CameraSettings, hints: ConnectionHints) -> HttpStream:
    """Open motion JPEG, a snapshot, a recording or a playlist.

    Raises:
        SourceError: the URL cannot be opened.
    """
    if hints.ffmpeg_url is None:
        client = HttpClient(settings)
        try:
            response = client.get()
            if _is_picture(response):
                return _open_pictures(settings, client, response)
            if _content_type(response).startswith(("text/html", "image/")):
                kind = _content_type(response).partition(";")[0]
                message = f"the response is {kind:.40}, neither a video nor a JPEG picture; check the path"
                raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: {message}")
        except BaseException:
            client.close()
            raise
        response.close()
        client.close()
        hints.ffmpeg_url = client.ffmpeg_url()
    try:
        return HttpStream(_open_with_ffmpeg(settings, hints.ffmpeg_url))
    except SourceError:
        hints.ffmpeg_url = None
        raise


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).lower()


def _is_picture(response: httpx.Response) -> bool:
    return _content_type(response).startswith(
        ("multipart/", "image/jp", "image/pjpeg", "video/x-motion-jpeg")
    )


def _open_pictures(settings: CameraSettings, client: HttpClient, response: httpx.Response) -> HttpStream:
    """Open a stream of pictures. A response that ends after one picture is a snapshot, which is polled."""
    is_multipart = _content_type(response).startswith("multipart/")
    pictures = motion_jpeg(client, response)
    interval = None
    if not is_multipart:
        first = list(_first_two(pictures))
        if not first:
            raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: the response is not a JPEG picture")
        if len(first) == 1:
            interval = settings.interval_seconds
            pictures = snapshots(client, response, first[0], settings)
        else:
            pictures = chain(first, pictures)
    return HttpStream(open_pictures(settings, PictureFile(pictures)), client, interval)


def _first_two(pictures: Iterator[bytes]) -> Iterator[bytes]:
    for _, picture in zip(range(2), pictures, strict=False):
        yield picture


def _open_with_ffmpeg(settings: CameraSettings, url: str) -> InputContainer:
    with limited_connection(settings):
        # Redirects have been followed already; FFmpeg would follow them without the connection limit.
        container = open_container(settings, url, {"max_redirects": "0", **ffmpeg_options(settings)})
    if is_checked(settings) and not {"hls", "dash"}.isdisjoint(container.format.name.split(",")):
        container.close()
        # FFmpeg does not apply the TLS options to the connections of the segments.
        message = (
            "FFmpeg does not check the certificates of a playlist's segments; "
            "to allow that, set tls_verify = false"
        )
        raise SourceError(Reason.UNSUPPORTED, f"{settings.masked_url}: {message}")
    return container
