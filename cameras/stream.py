"""What a worker sees of a source: its description, and the frames one after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.types import Pixels

_USUAL_FPS = 25.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream says about itself when it is opened."""

    codec: str
    width: int
    height: int
    fps: float | None
    """Frames a second as the stream claims, None where it claims nothing sensible."""
    recorded: bool
    """It has an end: a file, here or on a web server."""

    @property
    def frame_seconds(self) -> float:
        """How long a frame usually lasts."""
        return 1 / (self.fps or _USUAL_FPS)


class DecodedFrame(NamedTuple):
    """A frame, fresh from the decoder."""

    pixels: Pixels
    stream_seconds: float | None
    """Its timestamp in the stream, None where missing."""
    arrived_at: float
    """Unix time."""
    decode_seconds: float
    late: bool = False
    """It was decoded long after it came, together with others."""

    def as_late(self) -> "DecodedFrame":
        return self._replace(late=True)


@dataclass(frozen=True, slots=True)
class NoFrame:
    """A packet that gave no frame: the decoder wants more of them, or it was damaged."""

    corrupt: bool


class UndecodedPacket(NamedTuple):
    """A packet that is not decoded now, and perhaps never."""

    stream_seconds: float | None
    """Its timestamp in the stream, None where missing."""
    dropped: bool = False
    """Never, because there is no time for it."""


class Stream(Protocol):
    """One open stream, used by one thread; the frames it gave may be used by others."""

    @property
    def info(self) -> StreamInfo: ...

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        """Everything up to the end of a recording. SourceError when the stream breaks, stalls, or is live
        and ends."""
        ...

    def close(self) -> None: ...
