"""When a frame was taken, worked out from the stream's own time and the time it arrived.

A stream's timestamps run evenly but start anywhere, jump, repeat or are missing; arrival times are right
but jitter with the network. So the stream's time is trusted from frame to frame, and arrival says where on
the world's clock it lies.
"""

from datetime import UTC, datetime
from typing import NamedTuple

LARGEST_DELAY_SECONDS = 10.0
"""A frame that seems older on arrival, or a gap longer than time really passed by this much, is a jump of the
stream's clock rather than a slow network."""

PATIENCE_SECONDS = 10.0
"""A network that was held up has caught up after this time; frames that are still late were taken later."""


class Stamp(NamedTuple):
    captured_seconds: float
    """Unix time."""
    media_time: float
    """Seconds from the first frame, always growing."""

    @property
    def captured_at(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(self.captured_seconds, UTC)


class StreamClock:
    """Stamps the frames of one camera, in order, over reconnects and loops. Never goes backwards.

    A frame cannot have been taken after it arrived, so the shortest delay seen says best how the two times
    lie: the offset falls at once when a frame comes early, and rises (a slow crystal, a standstill) only when
    every frame of the last seconds was late.

    With `follow_arrival=False` (a recording) arrival means nothing after the first frame: the recording is
    taken as having begun when its first frame arrived, and read faster than it was taken it runs ahead.
    """

    def __init__(self, follow_arrival: bool = True) -> None:
        self._follow_arrival = follow_arrival
        self._offset: float | None = None  # unix time minus stream time
        self._stream_time = 0.0  # repaired: grows from frame to frame, whatever the stream says
        self._reported: float | None = None  # the stream's own timestamp of the frame before
        self._arrived_at: float | None = None
        self._last_step: float | None = None  # the last one that the stream told, and that can be
        self._captured_at = 0.0
        self._first: float | None = None
        self._watched_since = 0.0
        self._least_late = 0.0

    def stamp(self, reported: float | None, arrived_at: float, frame_seconds: float) -> Stamp:
        """The times of the next frame.

        reported: its timestamp in the stream, seconds, None where missing. arrived_at: unix time.
        frame_seconds: how long a frame of this stream usually lasts.
        """
        step = self._step(reported, arrived_at, frame_seconds)
        self._stream_time += step
        self._reported = reported
        self._arrived_at = arrived_at
        if self._first is None:
            self._first = self._stream_time
        offset = self._offset = self._next_offset(arrived_at)
        self._captured_at = max(self._captured_at, self._stream_time + offset)
        return Stamp(self._captured_at, self._stream_time - self._first)

    def media_time(self, reported: float | None) -> float | None:
        """The media time of a frame that comes later, with this timestamp; None where that is not known."""
        if reported is None or self._reported is None or self._first is None:
            return None
        ahead = reported - self._reported
        return self._stream_time + ahead - self._first if 0 <= ahead <= LARGEST_DELAY_SECONDS else None

    def reconnected(self) -> None:
        """The next frame is of a new connection, whose timestamps have nothing to do with those before."""
        self._reported = None
        self._offset = None

    def delay(self, seconds: float) -> None:
        """A recording goes on this much later than its own time says."""
        if self._offset is not None:
            self._offset += seconds

    def _step(self, reported: float | None, arrived_at: float, frame_seconds: float) -> float:
        """How much later than the frame before this one was taken, more than 0."""
        if self._arrived_at is None:
            return 0.0
        passed = max(0.0, arrived_at - self._arrived_at)
        # A recording whose clock jumps tells, by its length, too long a time for each frame.
        usual = frame_seconds if self._last_step is None else min(frame_seconds, self._last_step)
        likely = passed if self._follow_arrival and passed > 0 else usual
        if reported is None or self._reported is None:
            return likely
        step = reported - self._reported
        longest = (passed if self._follow_arrival else 0.0) + LARGEST_DELAY_SECONDS
        if not 0 < step <= longest:
            return likely
        self._last_step = step
        return step

    def _next_offset(self, arrived_at: float) -> float:
        delay = arrived_at - self._stream_time
        offset = self._offset
        if offset is None or (self._follow_arrival and delay - offset > LARGEST_DELAY_SECONDS):
            self._watch_from(arrived_at)
            return delay
        if not self._follow_arrival:
            return offset
        late = delay - offset
        self._least_late = min(self._least_late, late)
        offset += min(0.0, late)
        if arrived_at - self._watched_since > PATIENCE_SECONDS:
            offset += max(0.0, self._least_late)
            self._watch_from(arrived_at)
        return offset

    def _watch_from(self, arrived_at: float) -> None:
        self._watched_since = arrived_at
        self._least_late = float("inf")
