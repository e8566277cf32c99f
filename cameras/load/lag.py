"""Leaving out what a live camera has sent, where too much of it waits to be decoded.

What is not read in time waits in the network and becomes ever older, until the camera gives the connection
up. So it is read, and decoded only from the next key frame on.
"""

from collections.abc import Callable

from cameras.load.decode_load import DecodeLoad

MAX_LAG_SECONDS = 1.0
"""So far behind its stream a camera may be,"""

MAX_LAG_IN_VIEW_SECONDS = 2.0
"""and so far with a face in view: the others make room first."""

CAUGHT_UP_SECONDS = 0.3

MAX_DROP_SECONDS = 5.0
"""What is only read and left out is soon read up. Whoever is still late after so long is so for another
reason: the camera's clock was set, or the network is slower than it was."""

DRIFT = 0.01
"""By this share a camera may send less than it says."""

JUMP_SECONDS = 10.0
"""More than that at once is the stream's clock being set, or a network that was away."""


class LagLimiter:
    """Of one connection. It leaves something out only where the thread is behind: a network that was held up
    brings what is late all at once, and that is decoded."""

    def __init__(self, decode_load: DecodeLoad, in_view: Callable[[], bool]) -> None:
        self._effort = decode_load
        self._in_view = in_view
        self._baseline: float | None = None
        """From a packet's timestamp to its arrival where nothing holds it up, seconds."""
        self._lag = 0.0
        self._read_at = 0.0
        self._dropping_since: float | None = None
        """When it began to leave out; None while it does not."""

    def drops(self, is_keyframe: bool, stream_seconds: float | None, read_at: float) -> bool:
        """Whether this packet is not to be decoded.

        stream_seconds: its timestamp in the stream, None where missing; it is in time then. read_at: by a
        clock that nobody sets.
        """
        lag = 0.0 if stream_seconds is None else self._measure(read_at - stream_seconds, read_at)
        if self._dropping_since is not None:
            if is_keyframe and lag <= CAUGHT_UP_SECONDS:
                self._dropping_since = None
        elif lag > MAX_LAG_SECONDS and self._effort.behind and self._is_too_late(lag):
            self._dropping_since = read_at
        return self._dropping_since is not None

    def _is_too_late(self, lag: float) -> bool:
        return lag > MAX_LAG_IN_VIEW_SECONDS or not self._in_view()

    def _measure(self, delay: float, read_at: float) -> float:
        """How much later than usual it was read."""
        is_usual = self._dropping_since is not None and read_at - self._dropping_since > MAX_DROP_SECONDS
        if self._baseline is None or is_usual or abs(delay - self._baseline - self._lag) > JUMP_SECONDS:
            self._baseline = delay
        else:
            self._baseline = min(delay, self._baseline + DRIFT * max(0.0, read_at - self._read_at))
        self._read_at = read_at
        self._lag = delay - self._baseline
        return self._lag
