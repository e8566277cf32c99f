"""Opens a camera's stream; the kind of its URL decides how."""

from typing import Protocol

from av.container import InputContainer

from cameras.settings import CameraSettings
from cameras.source.connection_hints import ConnectionHints
from cameras.source.container import open_device, open_file
from cameras.source.http.open_http import open_http
from cameras.source.rtsp.open_rtsp import open_rtsp
from cameras.urls import UrlKind


class OpenStream(Protocol):
    """An open stream."""

    container: InputContainer
    interval_seconds: float | None
    """Polling interval of a snapshot; None for a stream."""

    def received(self) -> None:
        """The first packet has arrived."""
        ...

    def close(self) -> None: ...


class ContainerStream:
    """A file or device, which FFmpeg reads without a relay."""

    interval_seconds: float | None = None

    def __init__(self, container: InputContainer) -> None:
        self.container = container

    def received(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.container.close()


def open_camera(settings: CameraSettings, hints: ConnectionHints) -> OpenStream:
    """Open a stream.

    Raises:
        SourceError: the stream cannot be opened.
    """
    match settings.kind:
        case UrlKind.RTSP:
            return open_rtsp(settings, hints)
        case UrlKind.FILE:
            return ContainerStream(open_file(settings))
        case UrlKind.DEVICE:
            return ContainerStream(open_device(settings))
        case UrlKind.HTTP:
            return open_http(settings)
