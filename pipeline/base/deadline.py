"""A deadline shared by several steps."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock. Each step gets the remaining time, minus the time that later steps
    need."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.at - time.monotonic())

    def leaving(self, seconds: float) -> "Deadline":
        """An earlier deadline that leaves this time to the following steps."""
        return Deadline(self.at - seconds)

    def at_most(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and one this many seconds from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    async def wait(self, work: Awaitable[Any]) -> bool:
        """Wait for the work until the deadline; returns whether it ended in time.

        Late work is cancelled but not awaited, because it may ignore the cancellation. Exceptions of the work
        propagate.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=self.remaining())
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            return False
        task.result()
        return True
