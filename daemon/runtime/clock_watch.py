"""Detects that the box's clock was set, by comparing it with the monotonic clock."""

import asyncio
import time
from collections.abc import Callable

import structlog

CHECK_SECONDS = 1.0

STEP_SECONDS = 1.0
"""Smallest step that is reported; the same as in `cameras.timing.clock`."""

log = structlog.get_logger(__name__)


class ClockWatch:
    """Logs and counts steps of the clock."""

    def __init__(
        self,
        stepped: Callable[[float], None],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """stepped: called with the step in seconds, negative if the clock was set back."""
        self._stepped = stepped
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()

    def check(self) -> None:
        """Report a step since the last check."""
        offset = self._wall() - self._monotonic()
        # Slow corrections by NTP are not steps, and do not accumulate: the offset is updated each time.
        step, self._offset = offset - self._offset, offset
        if abs(step) < STEP_SECONDS:
            return
        self._stepped(step)
        if step < 0:
            log.warning("the clock was set back; visits in progress end", seconds=round(-step, 1))
        else:
            log.warning("the clock was set ahead", seconds=round(step, 1))
