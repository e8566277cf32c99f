"""Opens a camera by the kind of its URL."""

from typing import Protocol

from av.container import InputContainer

from cameras.settings import CameraSettings
from cameras.source.connection_limiter import wait_for_turn
from cameras.source.container import open_device, open_file, open_http
from cameras.source.memory import StreamMemory
from cameras.source.rtsp.opening import open_rtsp
from cameras.urls import UrlKind


class OpenStream(Protocol):
    """An open stream."""

    container: InputContainer

    def received(self) -> None:
        """The first packet has arrived."""
        ...

    def close(self) -> None: ...


class ContainerStream:
    """A stream that FFmpeg reads by itself."""

    def __init__(self, container: InputContainer) -> None:
        self.container = container

    def received(self) -> None:
        """Nothing depends on it."""

    def close(self) -> None:
        self.container.close()


def open_camera(settings: CameraSettings, memory: StreamMemory) -> OpenStream:
    """Open a stream.

    Raises:
        SourceError: the stream cannot be opened.
    """
    match settings.kind:
        case UrlKind.RTSP:
            return open_rtsp(settings, memory)
        case UrlKind.FILE:
            return ContainerStream(open_file(settings))
        case UrlKind.DEVICE:
            return ContainerStream(open_device(settings))
        case UrlKind.HTTP:
            wait_for_turn(settings)
            return ContainerStream(open_http(settings))
