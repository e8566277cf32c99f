"""Connects to a camera once and returns its first picture."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.status.health import KEY_FRAME
from cameras.stream import DecodedFrame, NoFrame, Stream
from pipeline.types import Picture

KEY_FRAME_TIMEOUT_SECONDS = 90.0
"""Maximum wait for a key frame; smart codecs send them rarely."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The stream of a camera and its first picture."""

    url: str
    """Masked."""
    codec: str
    width: int
    height: int
    fps: float | None
    recorded: bool
    seconds_to_first_picture: float
    damaged_pictures: int
    """Number of damaged pictures before the first one, which were skipped."""
    picture: Picture
    """(height, width, 3) uint8 BGR."""


def probe(
    settings: CameraSettings,
    picture_timeout_seconds: float = 30.0,
    open_source: Callable[[CameraSettings], Stream] = FFmpegSource,
) -> ProbeResult:
    """Connect, wait for the first picture, and disconnect.

    Raises:
        SourceError: the camera cannot be opened, or sends no picture in time.
    """
    began = time.monotonic()
    damaged = 0
    source = open_source(settings)
    try:
        for item in source.frames():
            seconds = time.monotonic() - began
            if isinstance(item, DecodedFrame):
                pixels, info = item.pixels, source.info
                return ProbeResult(
                    url=settings.masked_url,
                    codec=info.codec,
                    width=pixels.width,
                    height=pixels.height,
                    fps=info.fps,
                    recorded=info.recorded,
                    seconds_to_first_picture=seconds,
                    damaged_pictures=damaged,
                    picture=pixels.bgr(),
                )
            awaits_key_frame = False
            if isinstance(item, NoFrame):
                damaged += item.corrupt
                awaits_key_frame = item.awaits_key_frame
            if seconds > (KEY_FRAME_TIMEOUT_SECONDS if awaits_key_frame else picture_timeout_seconds):
                message = f"packets arrive, but no picture within {seconds:.0f} s"
                if awaits_key_frame:
                    message = KEY_FRAME.format(seconds=seconds)
                raise SourceError(Reason.STALLED, f"{settings.masked_url}: {message}")
    finally:
        source.close()
    raise SourceError(Reason.CORRUPT, f"{settings.masked_url}: no picture could be decoded")
