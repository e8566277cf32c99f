"""Files of a web server that FFmpeg reads: recordings, playlists and their segments.

FFmpeg itself would open a connection for each file, as often as a playlist demands, and would not check the
certificates of segments.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.http.client import HttpClient

_SIZE_REQUEST = 0x10000
"""FFmpeg's AVSEEK_SIZE."""
_MAX_SKIPPED_BYTES = 256 * 1024
"""Maximum number of bytes that are read and discarded, to seek forward or to reuse the connection."""
_BLOCK_BYTES = 1024 * 1024
"""Size of a request after more than _MAX_SEQUENTIAL_SEEKS seeks, so that its connection can be reused."""
_MAX_SEQUENTIAL_SEEKS = 2
"""Up to this number of seeks the file counts as read from start to end: the index of an MP4 file may be at
its end."""


@dataclass(slots=True)
class Failure:
    """The error that ended the reading of a container. After it FFmpeg would at once request the playlist's
    other segments."""

    error: SourceError | None = None


class WebFile:
    """The file object that FFmpeg reads. A failure is raised once; reads after it return no bytes."""

    def __init__(
        self, client: HttpClient, response: httpx.Response, body: Iterator[bytes], failure: Failure
    ) -> None:
        """response: the answer to a GET request. failure: shared by the files of a container."""
        self._client = client
        self._response, self._body = response, body
        self._failure = failure
        self._left = b""
        self._position = self._body_position = 0
        self._seeks = 0
        length = response.headers.get("Content-Length", "")
        has_ranges = response.headers.get("Accept-Ranges", "").lower() == "bytes"
        is_whole = response.status_code == httpx.codes.OK and length.isdecimal()
        self._size = int(length) if is_whole and has_ranges else None

    def read(self, size: int) -> bytes:
        """Up to this many bytes; none at the end. Raises SourceError."""
        if self._failure.error is not None:
            return b""
        try:
            return self._read(size)
        except SourceError as error:
            self._failure.error = error
            raise

    def seekable(self) -> bool:
        return self._size is not None

    def seek(self, offset: int, whence: int) -> int:
        """Set the position of the next read; for FFmpeg's request for the size, only return that."""
        size = self._size or 0
        if whence & _SIZE_REQUEST:
            return size
        self._position = offset + (0, self._position, size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Close the response. A short rest is read before, so that the connection can be reused."""
        length = self._response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) - self._response.num_bytes_downloaded <= _MAX_SKIPPED_BYTES:
            with contextlib.suppress(SourceError):
                for _ in self._body:
                    pass
        self._response.close()

    def _read(self, size: int) -> bytes:
        if self._position != self._body_position:
            self._go_to(self._position)
        while not self._left:
            data = next(self._body, None)
            if data is not None:
                self._left = data
            elif self._size is not None and self._body_position < self._size and self._seeks:
                self._request(self._body_position)
            else:
                return b""
        data, self._left = self._left[:size], self._left[size:]
        self._position = self._body_position = self._body_position + len(data)
        return data

    def _go_to(self, position: int) -> None:
        ahead = position - self._body_position
        if not 0 <= ahead <= _MAX_SKIPPED_BYTES:
            self._seeks += 1
            self._request(position)
            return
        while ahead > 0:
            self._left = self._left or next(self._body, b"")
            if not self._left:
                break
            skipped = min(ahead, len(self._left))
            self._left, ahead = self._left[skipped:], ahead - skipped
        self._body_position = position

    def _request(self, position: int) -> None:
        self.close()
        end = str(position + _BLOCK_BYTES - 1) if self._seeks > _MAX_SEQUENTIAL_SEEKS else ""
        self._response = self._client.get({"Range": f"bytes={position}-{end}"})
        if self._response.status_code != httpx.codes.PARTIAL_CONTENT:
            raise self._client.error(Reason.UNSUPPORTED, "the server does not send parts of the file")
        self._body, self._left = self._client.chunks(self._response), b""
        self._body_position = position


class WebFiles:
    """Opens the files of one container."""

    def __init__(
        self, settings: CameraSettings, client: HttpClient, response: httpx.Response, body: Iterator[bytes]
    ) -> None:
        """response: the answer to a GET request for the first file, which is opened first."""
        self._settings = settings
        self._client = client
        self._failure = Failure()
        self._deadline: float | None = time.monotonic() + 2 * settings.connect_timeout_seconds
        """For opening the container: playlists may refer to other playlists endlessly."""
        self._first: WebFile | None = WebFile(client, response, body, self._failure)

    def open(self, url: str, _flags: int, options: dict[str, str]) -> WebFile:
        """The file of a URL. flags and options: FFmpeg's. Raises SourceError."""
        first, self._first = self._first, None
        if first is not None:
            return first
        if self._failure.error is not None:
            return WebFile(self._client, httpx.Response(httpx.codes.OK), iter(()), self._failure)
        try:
            return self._open(url, int(options.get("offset", "0")), int(options.get("end_offset", "0")))
        except SourceError as error:
            self._failure.error = error
            raise

    def stop_deadline(self) -> None:
        """Called when the container is open."""
        self._deadline = None

    def _open(self, url: str, start: int, end: int) -> WebFile:
        """start, end: the byte range of a segment within the file; both 0 for the whole file."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            message = "the playlist names too many files before the first picture"
            raise SourceError(Reason.TIMEOUT, f"{self._settings.masked_url}: {message}")
        scheme = url.partition(":")[0]
        if scheme not in ("http", "https"):
            message = f"the playlist names files by {scheme:.20}:, which is not supported"
            raise SourceError(Reason.UNSUPPORTED, f"{self._settings.masked_url}: {message}")
        client = self._client.at(url)
        response = client.get({"Range": f"bytes={start}-{end - 1 if end else ''}"} if start or end else {})
        return WebFile(client, response, client.chunks(response), self._failure)
