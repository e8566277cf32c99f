"""Limits how often one kind of log line is written."""

LOG_INTERVAL_SECONDS = 60.0
"""Minimum interval between two lines of one kind."""


class LogLimiter:
    """Limits log lines of one kind, and counts the suppressed ones. Not thread-safe."""

    def __init__(self, suppressed_field: str = "failures_not_logged") -> None:
        """`suppressed_field`: name of the log field with the number of suppressed lines."""
        self._field = suppressed_field
        self._last: float | None = None
        self._suppressed = 0

    def due(self, now: float) -> dict[str, int] | None:
        """Extra fields for a line that may be logged now; None if it is suppressed.

        `now`: seconds of the monotonic clock.
        """
        if self._last is not None and now - self._last < LOG_INTERVAL_SECONDS:
            self._suppressed += 1
            return None
        suppressed, self._suppressed, self._last = self._suppressed, 0, now
        return {self._field: suppressed} if suppressed else {}
