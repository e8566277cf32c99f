"""Interface between a source and its run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.types import Pixels

_USUAL_FPS = 25.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Metadata of a stream, read when it is opened."""

    codec: str
    width: int
    height: int
    fps: float | None
    """Frames per second according to the metadata; None where missing or implausible."""
    recorded: bool
    """The stream ends: it is a file, local or on a web server."""

    @property
    def frame_seconds(self) -> float:
        """Nominal duration of a frame."""
        return 1 / (self.fps or _USUAL_FPS)


class DecodedFrame(NamedTuple):
    """A frame from the decoder."""

    pixels: Pixels
    stream_seconds: float | None
    """Timestamp in the stream, None where missing."""
    arrived_at: float
    """Unix time."""
    decode_seconds: float
    late: bool = False
    """Decoded from a buffer, after its arrival."""

    def as_late(self) -> "DecodedFrame":
        return self._replace(late=True)


@dataclass(frozen=True, slots=True)
class NoFrame:
    """A packet that yields no frame: the decoder needs more data, or the packet is damaged."""

    corrupt: bool
    awaits_key_frame: bool = False
    """No picture can be decoded before the next key frame: the connection has not delivered an undamaged
    one."""


class UndecodedPacket(NamedTuple):
    """A packet that is not decoded: buffered for later, or dropped."""

    stream_seconds: float | None
    """Timestamp in the stream, None where missing."""
    dropped: bool = False
    """Dropped for lack of time."""


class Stream(Protocol):
    """One open stream. Used by one thread; its frames may be used by others."""

    @property
    def info(self) -> StreamInfo: ...

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        """Yield every frame up to the end of a recording.

        Raises:
            SourceError: the stream breaks, stalls, or is live and ends.
        """
        ...

    def close(self) -> None: ...
