"""A time limit that several steps share."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock. Each step gets what remains, less what the steps after it need."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self.at - time.monotonic())

    def leaving(self, seconds: float) -> "Deadline":
        """The deadline of a step that is followed by steps which need this many seconds."""
        return Deadline(self.at - seconds)

    def at_most(self, seconds: float) -> "Deadline":
        """This deadline, or an earlier one that many seconds from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    async def wait(self, work: Awaitable[Any]) -> bool:
        """Waits for the work until the deadline; whether it ended in time.

        Work that is late is cancelled, but not waited for: it may ignore that. Raises what the work raises.
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
