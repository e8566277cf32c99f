"""JPEG pictures of a web server as a stream for FFmpeg: motion JPEG, or a snapshot that is polled."""

import time
from collections.abc import Iterable, Iterator

import httpx

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.http.client import HttpClient
from cameras.source.http.jpeg_splitter import JpegSplitter

BOUNDARY = b"picture"


def motion_jpeg(body: Iterator[bytes]) -> Iterator[bytes]:
    """The pictures of a response's body as they arrive. Raises SourceError."""
    splitter = JpegSplitter()
    for chunk in body:
        yield from splitter.feed(chunk)


def polled(
    client: HttpClient, response: httpx.Response, pictures: Iterator[bytes], settings: CameraSettings
) -> Iterator[bytes]:
    """The pictures of a response. If it ends after one picture, those of requests every interval_seconds.

    An unchanged picture is repeated. Raises SourceError.
    """
    due = time.monotonic()
    while True:
        count, picture = 0, b""
        for picture in pictures:
            count += 1
            yield picture
        if not count:
            raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: the response is not a JPEG picture")
        if count > 1:
            return
        headers = _conditions(response)
        while True:
            # After a delay, the next one is not early.
            now = time.monotonic()
            due = max(due + settings.interval_seconds, now)
            time.sleep(due - now)
            response = client.get(headers)
            if response.status_code != httpx.codes.NOT_MODIFIED:
                break
            yield picture
        pictures = motion_jpeg(client.chunks(response))


def _conditions(response: httpx.Response) -> dict[str, str]:
    """Headers that ask for a picture only if it has changed."""
    names = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    return {asked: response.headers[name] for name, asked in names.items() if name in response.headers}


class PictureFile:
    """A file object with pictures as a valid multipart stream, for FFmpeg."""

    def __init__(self, pictures: Iterable[bytes]) -> None:
        self._parts = self._as_parts(pictures)
        self._left = b""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; empty at the end. Raises SourceError."""
        if not self._left:
            self._left = next(self._parts, b"")
        data, self._left = self._left[:size], self._left[size:]
        return data

    @staticmethod
    def _as_parts(pictures: Iterable[bytes]) -> Iterator[bytes]:
        for picture in pictures:
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            yield head % (BOUNDARY, len(picture)) + picture + b"\r\n"
