"""Drops packets of a live camera that lags behind its stream.

Unread packets pile up in the network until the camera closes the connection. A camera that lags therefore
keeps reading, but does not decode before the next key frame.
"""

from collections.abc import Callable

from cameras.load.decode_load import DecodeLoad

MAX_LAG_SECONDS = 1.0
"""Maximum lag before packets are dropped."""

MAX_LAG_IN_VIEW_SECONDS = 2.0
"""Maximum lag with a face in view; larger, so that cameras without a face give way first."""

CAUGHT_UP_SECONDS = 0.3
"""Lag below which decoding continues."""

MAX_DROP_SECONDS = 5.0
"""Maximum time of dropping packets. A lag that remains has another cause: the camera's clock was set, or the
network became slower. It is then the new baseline."""

DRIFT = 0.01
"""Maximum relative error of the camera's clock."""

JUMP_SECONDS = 10.0
"""A larger step means that the stream's clock was set, or that the network was away."""


class LagLimiter:
    """Decides for each packet of one connection whether to drop it.

    Packets are dropped only while the thread is behind. A burst after a network outage is decoded.
    """

    def __init__(self, decode_load: DecodeLoad, in_view: Callable[[], bool]) -> None:
        self._decode_load = decode_load
        self._in_view = in_view
        self._baseline: float | None = None
        """Arrival minus timestamp of a packet without delay, seconds."""
        self._lag = 0.0
        self._read_at = 0.0
        self._dropping_since: float | None = None

    def drops(self, is_keyframe: bool, stream_seconds: float | None, read_at: float) -> bool:
        """Whether to drop this packet.

        stream_seconds: the packet's timestamp; None where missing, which counts as no lag. read_at: monotonic
        seconds.
        """
        lag = 0.0 if stream_seconds is None else self._measure(read_at - stream_seconds, read_at)
        if self._dropping_since is not None:
            if is_keyframe and lag <= CAUGHT_UP_SECONDS:
                self._dropping_since = None
        elif lag > MAX_LAG_SECONDS and self._decode_load.behind and self._is_too_late(lag):
            self._dropping_since = read_at
        return self._dropping_since is not None

    def _is_too_late(self, lag: float) -> bool:
        return lag > MAX_LAG_IN_VIEW_SECONDS or not self._in_view()

    def _measure(self, delay: float, read_at: float) -> float:
        """How much later than the baseline the packet was read."""
        is_usual = self._dropping_since is not None and read_at - self._dropping_since > MAX_DROP_SECONDS
        if self._baseline is None or is_usual or abs(delay - self._baseline - self._lag) > JUMP_SECONDS:
            self._baseline = delay
        else:
            self._baseline = min(delay, self._baseline + DRIFT * max(0.0, read_at - self._read_at))
        self._read_at = read_at
        self._lag = delay - self._baseline
        return self._lag
