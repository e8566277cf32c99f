"""Samples pictures of a camera's view for some seconds."""

import time
from collections.abc import Callable, Iterator

from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.probe import ProbeResult, probe
from cameras.stream import DecodedFrame, NoFrame, Stream, StreamInfo, UndecodedPacket
from pipeline.types import Picture


class _SharedStream:
    """A stream that two readers use in turn: `close` by the first reader has no effect."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._frames = iter(stream.frames())

    @property
    def info(self) -> StreamInfo:
        return self._stream.info

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        return self._frames

    def close(self) -> None:
        """Leaves the stream open; see `end`."""

    def end(self) -> None:
        self._stream.close()


def sample_view(
    settings: CameraSettings,
    seconds: float,
    interval_seconds: float,
    on_picture: Callable[[Picture], None],
    open_source: Callable[[CameraSettings], Stream] = FFmpegSource,
) -> tuple[ProbeResult, str]:
    """Probe the camera, then pass a picture every `interval_seconds`, and the first one, to `on_picture`.

    seconds: how long to read; for a recording, seconds of media time. Returns the result of the probe, and
    the error that ended the stream early; empty if there was none.

    Raises:
        SourceError: the camera cannot be opened, or sends no picture in time.
    """
    kept: list[_SharedStream] = []

    def open_shared(settings: CameraSettings) -> Stream:
        kept.append(_SharedStream(open_source(settings)))
        return kept[-1]

    try:
        first = probe(settings, open_source=open_shared)
        on_picture(first.picture)
        try:
            for picture in _pictures(kept[-1], first.recorded, seconds, interval_seconds):
                on_picture(picture)
        except SourceError as error:
            return first, str(error)
        return first, ""
    finally:
        for stream in kept:
            stream.end()


def _pictures(
    stream: _SharedStream, recorded: bool, seconds: float, interval_seconds: float
) -> Iterator[Picture]:
    began, media_began = time.monotonic(), None
    last = 0.0
    for item in stream.frames():
        passed = time.monotonic() - began
        if isinstance(item, DecodedFrame):
            if recorded and item.stream_seconds is not None:
                media_began = item.stream_seconds if media_began is None else media_began
                passed = item.stream_seconds - media_began
            if last + interval_seconds <= passed <= seconds:
                last = passed
                yield item.pixels.bgr()
        if passed >= seconds:
            return
