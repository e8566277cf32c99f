"""A clock that is far ahead removes nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from store.collections.users import User
from store.context import Context
from store.settings import RetentionSettings
from store.spool.spool import Spool
from store.upkeep import clock_guard
from store.upkeep.clock_guard import ClockError, ClockGuard
from store.upkeep.retention import Retention
from tests.integration.store.recorders import recording
from tests.sightings import sighting

DAY = timedelta(days=1)


@pytest.fixture
def another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB runs on this box, and its clock is wrong by as much."""

    async def same(self: ClockGuard) -> datetime:
        return datetime.max.replace(tzinfo=UTC)

    monkeypatch.setattr(ClockGuard, "_server_time", same)
    monkeypatch.setattr(clock_guard, "is_set_by_ntp", lambda now: False)


async def retain(ctx: Context, user: User, at: datetime, *, trust_clock: bool = False) -> int:
    """The number of faces that retention removes, by a clock that shows this time."""
    settings = RetentionSettings(faces_days=30, trust_clock=trust_clock)
    return (await Retention(ctx, user, settings, clock=lambda: at).run()).faces


async def add_face(ctx: Context, user: User, spool: Spool, at: datetime) -> None:
    spool.put(sighting(1, captured_at=at))
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), 20)


async def test_a_clock_ahead_of_mongodbs_removes_nothing(ctx: Context, user: User, spool: Spool) -> None:
    """The error says by how much; the right clock removes again."""
    now = datetime.now(UTC)
    await add_face(ctx, user, spool, now - 3 * DAY)
    with pytest.raises(ClockError, match=r"36\d days ahead of MongoDB's"):
        await retain(ctx, user, now + 365 * DAY)
    assert await retain(ctx, user, now) == 0
    assert len(await ctx.faces.find(user, None)) == 1


@pytest.mark.usefixtures("another_clock")
async def test_a_confirmed_clock_removes(ctx: Context, user: User, spool: Spool) -> None:
    """The message says how to confirm it."""
    now = datetime.now(UTC)
    await retain(ctx, user, now)
    await add_face(ctx, user, spool, now)
    with pytest.raises(ClockError, match=r"\d+ days ahead of the last stored time.*trust_clock"):
        await retain(ctx, user, now + 400 * DAY)
    assert len(await ctx.faces.find(user, None)) == 1
    assert await retain(ctx, user, now + 400 * DAY, trust_clock=True) == 1


@pytest.mark.usefixtures("another_clock")
async def test_faces_of_the_wrong_time_do_not_hide_a_jump(ctx: Context, user: User, spool: Spool) -> None:
    """The last retention counts: faces that were stored since have the wrong time as well."""
    now = datetime.now(UTC)
    await retain(ctx, user, now)
    await add_face(ctx, user, spool, now)
    await add_face(ctx, user, spool, now + 399 * DAY)
    with pytest.raises(ClockError):
        await retain(ctx, user, now + 400 * DAY)
    assert len(await ctx.faces.find(user, None)) == 2


@pytest.mark.usefixtures("another_clock")
async def test_a_clock_that_runs_removes_night_by_night(ctx: Context, user: User, spool: Spool) -> None:
    """Also where nobody comes for months."""
    now = datetime.now(UTC)
    await add_face(ctx, user, spool, now)
    assert sum([await retain(ctx, user, now + night * DAY) for night in range(33)]) == 1


async def test_a_clock_that_ntp_sets_is_right(
    ctx: Context, user: User, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that was off for a month catches up."""
    await add_face(ctx, user, spool, datetime.now(UTC) - 31 * DAY)
    monkeypatch.setattr(clock_guard, "is_set_by_ntp", lambda now: True)
    assert await retain(ctx, user, datetime.now(UTC)) == 1
