"""Times the frames of one camera across its runs: when they were captured, and when to play them."""

from typing import Literal

from cameras.stream import DecodedFrame, StreamInfo, UndecodedPacket
from cameras.timing.clock import Stamp, StreamClock
from cameras.timing.playback import Playback


class StreamTiming:
    """Clock and playback of one camera. Not thread-safe.

    Outlives the runs, so that times keep growing over loops, reconnects and takeovers.
    """

    def __init__(self, speed: Literal["media", "fast"]) -> None:
        """speed: of recordings, see `CameraSettings.speed`."""
        self._speed = speed
        self._clock: StreamClock | None = None
        self._playback: Playback | None = None

    def opened(self, info: StreamInfo) -> bool:
        """A stream is open; returns whether a live stream was reconnected."""
        reconnected = False
        if self._clock is None:
            self._clock = StreamClock(follow_arrival=not info.recorded)
        elif not info.recorded:
            self._clock.reconnected()
            reconnected = True
        if not info.recorded or self._speed != "media":
            self._playback = None
        elif self._playback is None:
            self._playback = Playback()
        return reconnected

    def stamp(self, frame: DecodedFrame, info: StreamInfo) -> tuple[Stamp, float]:
        """Times of the next frame, and the seconds until it is due: 0 for live and late frames."""
        stamp = self._open_clock.stamp(frame.stream_seconds, frame.arrived_at, info.frame_seconds)
        return stamp, 0.0 if frame.late else self._schedule(stamp.media_time)

    def wait_seconds(self, packet: UndecodedPacket) -> float:
        """Seconds until a packet that is not decoded is due; 0 in a live stream, or if unknown."""
        due = self._open_clock.media_time(packet.stream_seconds)
        return 0.0 if due is None else self._schedule(due)

    @property
    def _open_clock(self) -> StreamClock:
        if self._clock is None:
            raise RuntimeError("no stream has been opened")
        return self._clock

    def _schedule(self, media_time: float) -> float:
        if self._playback is None:
            return 0.0
        wait_seconds, delay_seconds = self._playback.schedule(media_time)
        self._open_clock.delay(delay_seconds)
        return wait_seconds
