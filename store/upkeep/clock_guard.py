"""Refuses removals by age while the box's clock may be far ahead.

A clock that is a year ahead would make every face old enough to be removed. The clock is compared with that
of MongoDB, which differs if MongoDB runs on another machine, and with the last stored time, unless the kernel
reports that NTP sets the clock.
"""

import ctypes
import struct
from datetime import UTC, datetime, timedelta

from store.context import Context
from store.errors import StoreError
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.upkeep.job_runs import JobRuns

MAX_AHEAD = timedelta(hours=12)
"""Maximum time by which the clock may be ahead of MongoDB's."""

MAX_GAP = timedelta(days=3)
"""Maximum time since the last stored time, unless NTP sets the clock."""

_JOB = "clock"
_TIMEX_BYTES = 256
_TIMEX_SECONDS = 72
"""Offset of the time in `struct timex` of 64-bit Linux."""
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""


class ClockError(StoreError):
    """The clock may be wrong; the message gives the reason and the remedy."""


class ClockGuard:
    """Checks the clock, and stores the time of the last successful check of any box."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._runs = JobRuns(ctx.database, "all boxes:")

    async def check(self, now: datetime) -> None:
        """Raise ClockError if `now` is too far ahead of MongoDB's clock or of the last stored time."""
        ahead = now - await self._server_time()
        if ahead > MAX_AHEAD:
            raise ClockError(
                f"nothing is removed: this box's clock is {_text(ahead)} ahead of MongoDB's; correct it"
            )
        last = await self._runs.last(_JOB)
        if last is not None and now - last > MAX_GAP and not is_set_by_ntp(now):
            raise ClockError(
                f"nothing is removed: the clock is {_text(now - last)} ahead of the last stored time, and "
                "not set by NTP; let NTP set it, or confirm it by jobs.trust_clock = true"
            )
        await self._runs.record(_JOB, now)

    async def _server_time(self) -> datetime:
        try:
            answer = await self._ctx.database.command("hello")
        except DRIVER_ERRORS as error:
            raise translate_error(error, "hello") from error
        server_time: datetime = answer["localTime"].replace(tzinfo=UTC)
        return server_time


def is_set_by_ntp(now: datetime) -> bool:
    """Whether the kernel's clock is synchronised, and `now` is its time."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None).adjtimex(timex)
    except (OSError, AttributeError):
        return False
    kernel_time = datetime.fromtimestamp(struct.unpack_from("=q", timex, _TIMEX_SECONDS)[0], UTC)
    return 0 <= int(state) < _UNSYNCHRONISED and abs(now - kernel_time) < MAX_AHEAD


def _text(time: timedelta) -> str:
    return f"{time.days} days" if time.days > 1 else f"{time.total_seconds() / 3600:.0f} hours"
