"""Opens a container with FFmpeg, by URL.

FFmpeg's messages and exceptions contain the URL with its password, so none of them leaves this module: a
SourceError is raised after the except block, so that it does not refer to the original exception.
"""

import stat
import time
from collections.abc import Callable

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg_errors import Phase, to_source_error
from cameras.source.http.jpeg_streams import PictureFile
from cameras.urls import local_path
from pipeline.limits import MAX_PIXELS

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
"""Larger pictures would take gigabytes of memory each, although a megabyte of compressed data can hold
one."""


DecodingDevice = Callable[[CameraSettings], HWAccel | None]
"""Chooses the hardware device that decodes a camera's stream; None for software."""


def software_decoding(_settings: CameraSettings) -> None:
    """The only `DecodingDevice` so far."""
    return


def open_container(
    settings: CameraSettings,
    url: str,
    options: dict[str, str],
    container_format: str | None = None,
    device: DecodingDevice = software_decoding,
    open_file: Callable[[str, int, dict[str, str]], object] | None = None,
) -> InputContainer:
    """Open a URL. `device` decodes the stream; `open_file` opens files by their URLs instead of FFmpeg.

    Blocks for up to connect_timeout_seconds until the server answers, and again until the first packets
    arrive; FFmpeg cannot be interrupted meanwhile.

    Raises:
        SourceError: the URL cannot be opened.
    """
    began = time.monotonic()
    try:
        return av.open(
            url,
            "r",
            format=container_format,
            options=options | DECODER_OPTIONS,
            metadata_errors="replace",
            timeout=(settings.connect_timeout_seconds, settings.read_timeout_seconds),
            hwaccel=device(settings),
            io_open=open_file,
        )
    except av.FFmpegError as error:
        late = time.monotonic() - began >= settings.connect_timeout_seconds
        failure = to_source_error(error, settings, Phase.OPENING_LATE if late else Phase.OPENING)
    raise failure


def open_file(settings: CameraSettings) -> InputContainer:
    """Open a recording on disk. Raises SourceError."""
    path = local_path(settings.url)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise SourceError(Reason.NOT_FOUND, f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(Reason.PERMISSION, f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        # Opening a named pipe would block without a timeout.
        raise SourceError(Reason.UNSUPPORTED, f"{path}: not a regular file")
    # A playlist with the name of a clip must not open connections to other servers.
    return open_container(settings, settings.connect_url(), {"protocol_whitelist": "file,crypto,data"})


def open_device(settings: CameraSettings) -> InputContainer:
    """Open a camera device of this machine. Raises SourceError."""
    return open_container(settings, settings.connect_url(), {}, "v4l2")


def open_pictures(settings: CameraSettings, file: PictureFile) -> InputContainer:
    """Open a stream of JPEG pictures. Raises SourceError."""
    try:
        # Probing the frame rate would wait for several pictures.
        return av.open(file, "r", format="mpjpeg", options={"fpsprobesize": "0"})
    except av.FFmpegError as error:
        failure = to_source_error(error, settings, Phase.OPENING)
    raise failure
