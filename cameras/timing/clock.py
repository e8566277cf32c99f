"""Capture times of frames, computed from stream timestamps and arrival times.

Stream timestamps are evenly spaced, but have an arbitrary start, and may jump, repeat or be missing. Arrival
times are absolute, but jitter with the network. So stream time measures the distance between frames, and
arrival times map it to wall time.
"""

from datetime import UTC, datetime
from typing import NamedTuple

MAX_DELAY_SECONDS = 10.0
"""A frame that seems older on arrival, or a gap that exceeds the elapsed time by more, is a jump of the
stream's clock rather than a slow network."""

CATCH_UP_SECONDS = 10.0
"""A delayed network has caught up after this time; frames that are still late were captured later."""

SET_BACK_SECONDS = 1.0
"""If a frame's arrival time is earlier than the previous one's by more than this, the box's clock was set
back. Smaller corrections by NTP do not end visits."""


class Stamp(NamedTuple):
    captured_seconds: float
    """Unix time."""
    media_time: float
    """Seconds since the first frame, strictly increasing."""
    clock_was_set_back: bool = False
    """The capture time is earlier than that of the previous frame."""

    @property
    def captured_at(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(self.captured_seconds, UTC)


class StreamClock:
    """Stamps the frames of one camera, in order, across reconnects and loops.

    Capture times never decrease, except when the box's clock was set back. Then they follow it at once:
    otherwise all frames would have the same capture time until the clock reaches its old value.

    A frame arrives after its capture, so the shortest delay is the best estimate of the offset between stream
    time and wall time. The offset falls at once when a frame is early. It rises (clock drift, an outage) only
    when all frames of the last seconds were late.

    With `follow_arrival=False`, for recordings, only the first arrival time counts: capture times are ahead
    of wall time if the recording is read faster than it was captured.
    """

    def __init__(self, follow_arrival: bool = True) -> None:
        self._follow_arrival = follow_arrival
        self._offset: float | None = None  # unix time minus stream time
        self._stream_time = 0.0  # repaired: strictly increasing
        self._reported: float | None = None  # the stream's timestamp of the previous frame
        self._arrived_at: float | None = None
        self._last_step: float | None = None  # the last plausible one by timestamps
        self._captured_at = 0.0
        self._first: float | None = None
        self._window_start = 0.0
        self._min_late = 0.0

    def stamp(self, reported: float | None, arrived_at: float, frame_seconds: float) -> Stamp:
        """Capture and media time of the next frame.

        reported: its stream timestamp in seconds, None where missing. arrived_at: unix time. frame_seconds:
        nominal duration of a frame.
        """
        was_set_back = self._follow_clock(arrived_at, frame_seconds)
        step = self._step(reported, arrived_at, frame_seconds)
        self._stream_time += step
        self._reported = reported
        self._arrived_at = arrived_at
        if self._first is None:
            self._first = self._stream_time
        offset = self._offset = self._next_offset(arrived_at)
        self._captured_at = max(self._captured_at, self._stream_time + offset)
        return Stamp(self._captured_at, self._stream_time - self._first, was_set_back)

    def _follow_clock(self, arrived_at: float, frame_seconds: float) -> bool:
        """Follow the box's clock if it was set back since the last frame; returns whether it was."""
        if self._arrived_at is None or arrived_at >= self._arrived_at - SET_BACK_SECONDS:
            return False
        if self._offset is not None:
            self._offset += arrived_at - self._arrived_at - frame_seconds
        self._arrived_at, self._captured_at = arrived_at, 0.0
        self._restart_window(arrived_at)
        return True

    def media_time(self, reported: float | None) -> float | None:
        """Media time of a later frame with this timestamp; None where unknown."""
        if reported is None or self._reported is None or self._first is None:
            return None
        ahead = reported - self._reported
        return self._stream_time + ahead - self._first if 0 <= ahead <= MAX_DELAY_SECONDS else None

    def reconnected(self) -> None:
        """The next frame belongs to a new connection with unrelated timestamps."""
        self._reported = None
        self._offset = None

    def delay(self, seconds: float) -> None:
        """Shift the rest of a recording by this delay."""
        if self._offset is not None:
            self._offset += seconds

    def _step(self, reported: float | None, arrived_at: float, frame_seconds: float) -> float:
        """Seconds since the previous frame was captured, more than 0."""
        if self._arrived_at is None:
            return 0.0
        passed = max(0.0, arrived_at - self._arrived_at)
        # After a jump in a recording's timestamps, the nominal frame duration may be too long.
        usual = frame_seconds if self._last_step is None else min(frame_seconds, self._last_step)
        likely = passed if self._follow_arrival and passed > 0 else usual
        if reported is None or self._reported is None:
            return likely
        step = reported - self._reported
        longest = (passed if self._follow_arrival else 0.0) + MAX_DELAY_SECONDS
        if not 0 < step <= longest:
            return likely
        self._last_step = step
        return step

    def _next_offset(self, arrived_at: float) -> float:
        delay = arrived_at - self._stream_time
        offset = self._offset
        if offset is None or (self._follow_arrival and delay - offset > MAX_DELAY_SECONDS):
            self._restart_window(arrived_at)
            return delay
        if not self._follow_arrival:
            return offset
        late = delay - offset
        self._min_late = min(self._min_late, late)
        offset += min(0.0, late)
        if arrived_at - self._window_start > CATCH_UP_SECONDS:
            offset += max(0.0, self._min_late)
            self._restart_window(arrived_at)
        return offset

    def _restart_window(self, arrived_at: float) -> None:
        self._window_start = arrived_at
        self._min_late = float("inf")
