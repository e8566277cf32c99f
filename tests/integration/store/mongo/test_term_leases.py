"""Leases with terms: one box at a time reads a camera or runs a job."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import DatetimeMS, ObjectId

from store.context import Context
from store.errors import LeaseLostError, StoreUnavailableError
from store.mongo import term_leases
from store.mongo.term_leases import TermLeases

OWNER = ObjectId()
HOUR = timedelta(hours=1)


def boxes(ctx: Context, *names: str) -> list[TermLeases]:
    return [TermLeases(ctx.database, "camera", OWNER, name) for name in names]


async def test_one_of_two_boxes_gets_a_camera(ctx: Context) -> None:
    """The other one learns the holder while that box renews."""
    first, second = boxes(ctx, "hall", "yard")
    mine = (await first.renew(["door"]))["door"]
    theirs = (await second.renew(["door"]))["door"]
    assert (mine.is_ours, theirs.is_ours, theirs.box, theirs.term) == (True, False, "hall", 1)
    renewed = (await first.renew(["door"]))["door"]
    assert (renewed.is_ours, renewed.term, renewed.since) == (True, 1, mine.since)
    assert renewed.expires > mine.expires


async def test_twenty_boxes_at_once_agree_on_one(ctx: Context) -> None:
    """Also if the lease's document does not exist yet; each camera has exactly one holder."""
    all_boxes = boxes(ctx, *(f"box-{number}" for number in range(20)))
    cameras = ["door", "hall", "$ref", "a.b"]
    await asyncio.gather(*(box.renew(cameras) for box in all_boxes))
    seen = [await box.renew(cameras) for box in all_boxes]
    for cam_id in cameras:
        assert sum(leases[cam_id].is_ours for leases in seen) == 1
        assert len({leases[cam_id].box for leases in seen}) == 1


async def test_a_lease_taken_by_a_later_clock_reading_is_respected(ctx: Context) -> None:
    """Concurrent updates may be applied in another order than their clock readings."""
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    later = {"$set": {"expires": {"$add": ["$expires", 500]}, "since": {"$add": ["$since", 500]}}}
    await ctx.database["camera_leases"].update_one({"name": "door"}, [later])
    theirs = (await second.renew(["door"]))["door"]
    assert (theirs.is_ours, theirs.box, theirs.term) == (False, "hall", 1)


async def test_a_released_lease_is_taken_at_once(ctx: Context) -> None:
    """Under the next term."""
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    await first.release()
    taken = (await second.renew(["door"]))["door"]
    assert (taken.is_ours, taken.box, taken.term) == (True, "yard", 2)


async def test_the_lease_of_a_dead_box_expires(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its old holder returns, the lease is taken."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 0.3)
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    assert not (await second.renew(["door"]))["door"].is_ours
    await asyncio.sleep(0.4)
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 30.0)
    assert (await second.renew(["door"]))["door"].is_ours
    assert not (await first.renew(["door"]))["door"].is_ours


async def test_owners_do_not_share_cameras(ctx: Context) -> None:
    """The same camera id of two owners is two cameras."""
    (mine,) = boxes(ctx, "hall")
    theirs = TermLeases(ctx.database, "camera", ObjectId(), "yard")
    assert (await mine.renew(["door"]))["door"].is_ours
    assert (await theirs.renew(["door"]))["door"].is_ours


async def test_terms_record_the_holders(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first term, and between an expired one and the next, there is no holder."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 0.2)
    first, second = boxes(ctx, "hall", "yard")
    old = (await first.renew(["door"]))["door"]
    await asyncio.sleep(0.3)
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 30.0)
    new = (await second.renew(["door"]))["door"]
    instant = timedelta(milliseconds=1)
    for at, box in (
        (old.since - HOUR, ""),
        (old.since, "hall"),
        (old.expires - instant, "hall"),
        (old.expires, ""),
        (new.since, "yard"),
        (new.since + timedelta(seconds=1), "yard"),
        (new.expires + instant, ""),
    ):
        assert await first.held_by_another("door", at) == ("" if box == "hall" else box)
        assert await second.held_by_another("door", at) == ("" if box == "yard" else box)
    assert await first.held_by_another("unknown", new.since) == ""


async def test_a_job_runs_on_one_box_at_a_time(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it takes longer than a lease; the lease is free as soon as the job ends."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(term_leases, "RENEW_SECONDS", 0.1)
    first, second = (TermLeases(ctx.database, "job", OWNER, name) for name in ("hall", "yard"))
    async with first.held("merge") as holder:
        assert holder == ""
        await asyncio.sleep(2.5)
        async with second.held("merge") as other:
            assert other == "hall"
    async with second.held("merge") as holder:
        assert holder == ""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that expire soon."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(term_leases, "RENEW_SECONDS", 0.1)


async def test_a_job_is_cancelled_if_another_box_takes_its_lease(ctx: Context, short: None) -> None:
    """At the next renewal; the error names the lease, and the other box keeps it."""
    first, second = (TermLeases(ctx.database, "job", OWNER, name) for name in ("hall", "yard"))
    done = False
    with pytest.raises(LeaseLostError, match="the lease merge"):
        async with first.held("merge"):
            await first.release(["merge"])
            assert (await second.renew(["merge"]))["merge"].is_ours
            await asyncio.sleep(10)
            done = True
    assert not done
    assert (await second.renew(["merge"]))["merge"].term == 2


async def test_a_job_is_cancelled_before_its_lease_expires(
    ctx: Context, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If MongoDB does not answer, the job ends while no other box can hold the lease."""
    first, second = (TermLeases(ctx.database, "job", OWNER, name) for name in ("hall", "yard"))

    async def away(names: object) -> None:
        raise StoreUnavailableError("MongoDB is away")

    with pytest.raises(LeaseLostError):
        async with first.held("merge"):
            monkeypatch.setattr(first, "renew", away)
            try:
                await asyncio.sleep(10)
            finally:
                assert not (await second.renew(["merge"]))["merge"].is_ours


async def test_a_job_survives_missed_renewals(
    ctx: Context, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in a row fail, the next one succeeds."""
    leases = TermLeases(ctx.database, "job", OWNER, "hall")
    renew, calls = leases.renew, 0

    async def now_and_then(names: list[str]) -> dict[str, term_leases.TermLease]:
        nonlocal calls
        calls += 1
        if calls % 4:
            raise StoreUnavailableError("MongoDB is away")
        return await renew(names)

    async with leases.held("merge"):
        monkeypatch.setattr(leases, "renew", now_and_then)
        await asyncio.sleep(1.5)


async def test_a_programming_error_in_the_renewal_is_reported(
    ctx: Context, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the event loop's handler, which ends the daemon."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    leases = TermLeases(ctx.database, "job", OWNER, "hall")
    async with leases.held("merge"):
        monkeypatch.setattr(leases, "renew", lambda names: 1 // 0)
        await asyncio.sleep(0.3)
    assert [report["supervised"] for report in reports] == ["lease merge"]


async def test_errors_of_a_job_are_passed_on(ctx: Context, short: None) -> None:
    """Including a timeout inside it, which is not that of the lease."""
    leases = TermLeases(ctx.database, "job", OWNER, "hall")
    with pytest.raises(TimeoutError):
        async with leases.held("merge"), asyncio.timeout(0.05):
            await asyncio.sleep(10)
    with pytest.raises(KeyError):
        async with leases.held("merge"):
            raise KeyError


class Clock:
    """The clock of a box, which may be wrong."""

    def __init__(self, wrong_by: float) -> None:
        self.wrong_by = wrong_by

    def __call__(self) -> float:
        return time.time() + self.wrong_by

    def now(self) -> datetime:
        return datetime.fromtimestamp(self(), UTC)


@pytest.mark.parametrize("wrong_by", [-86400.0, -3600.0, -5.0, 5.0, 3600.0])
async def test_a_wrong_clock_loses_no_sighting(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, wrong_by: float
) -> None:
    """A box that takes over stores what it captured since then, also after a restart and a correction of its
    clock."""
    clock = Clock(wrong_by)
    first = TermLeases(ctx.database, "camera", OWNER, "hall")
    second = TermLeases(ctx.database, "camera", OWNER, "yard", clock)
    await first.renew(["door"])
    await ctx.database["camera_leases"].update_one(  # the first box has held it for long
        {}, {"$set": {"since": datetime.now(UTC) - 99 * HOUR, "terms.0.since": datetime.now(UTC) - 99 * HOUR}}
    )
    await first.release()
    assert (await second.renew(["door"]))["door"].is_ours
    captured = clock.now()
    assert await second.held_by_another("door", captured) == ""
    clock.wrong_by = 0
    assert await second.held_by_another("door", captured) == ""
    assert await second.held_by_another("door", clock.now()) == ""
    restarted = TermLeases(ctx.database, "camera", OWNER, "yard")
    assert await restarted.held_by_another("door", captured) == ""


async def test_a_clock_that_is_set_twice_loses_no_sighting(ctx: Context) -> None:
    """The clock is wrong only during a part of a term."""
    clock = Clock(0)
    first = TermLeases(ctx.database, "camera", OWNER, "hall")
    second = TermLeases(ctx.database, "camera", OWNER, "yard", clock)
    await first.renew(["door"])
    await ctx.database["camera_leases"].update_one(
        {}, {"$set": {"since": datetime.now(UTC) - 99 * HOUR, "terms.0.since": datetime.now(UTC) - 99 * HOUR}}
    )
    await first.release()
    await second.renew(["door"])
    clock.wrong_by = -7200
    await second.renew(["door"])
    captured = clock.now()
    clock.wrong_by = 0
    assert await second.held_by_another("door", captured) == ""
    long_before = captured - HOUR
    assert await second.held_by_another("door", long_before) == "hall"


async def test_boxes_of_the_same_name_are_two(ctx: Context) -> None:
    """Host names are often equal, such as `localhost`; a restarted box is the same one."""
    first, second, restarted = (
        TermLeases(ctx.database, "camera", OWNER, "localhost", box_id=box_id) for box_id in ("a", "b", "a")
    )
    await first.renew(["door"])
    seen = [(await leases.renew(["door"]))["door"].is_this_box for leases in (first, second, restarted)]
    assert seen == [True, False, True]
    since = (await first.renew(["door"]))["door"].since
    captured = since + (datetime.now(UTC) - since) / 2
    assert await second.held_by_another("door", captured) == "localhost"
    assert await restarted.held_by_another("door", captured) == ""


async def test_a_lease_of_an_earlier_version_is_known_by_its_name(ctx: Context) -> None:
    """It has no id of the box."""
    first, second = (TermLeases(ctx.database, "camera", OWNER, "hall", box_id=box_id) for box_id in "ab")
    await first.renew(["door"])
    leases = ctx.database["camera_leases"]
    await leases.update_one({}, {"$unset": {"box_id": "", "terms.0.box_id": ""}})
    lease = (await second.renew(["door"]))["door"]
    assert lease.is_this_box
    assert await second.held_by_another("door", lease.since) == ""


async def test_a_wrong_clock_does_not_hide_duplicates(ctx: Context) -> None:
    """A capture by another box at the same true time is a duplicate."""
    clock = Clock(-600)
    first = TermLeases(ctx.database, "camera", OWNER, "hall")
    second = TermLeases(ctx.database, "camera", OWNER, "yard", clock)
    await first.renew(["door"])
    await ctx.database["camera_leases"].update_one(
        {}, {"$set": {"since": datetime.now(UTC) - 99 * HOUR, "terms.0.since": datetime.now(UTC) - 99 * HOUR}}
    )
    await second.renew(["door"])
    assert await second.held_by_another("door", clock.now()) == "hall"


@pytest.mark.parametrize(
    "damage",
    [
        {"terms": 5},
        {"term": "x"},
        {"expires": "later"},
        {"expires": None},
        {"holder": 1, "terms": None},
        {"since": DatetimeMS(-(2**60))},
        {"since": DatetimeMS(2**60)},
        {"box": 5},
    ],
)
async def test_a_malformed_lease_is_replaced(ctx: Context, damage: dict[str, object]) -> None:
    """A foreign document does not prevent a box from taking the lease."""
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    await ctx.database["camera_leases"].update_one({}, {"$set": damage})
    assert (await second.renew(["door"]))["door"].is_ours
    assert await second.held_by_another("door", (await second.renew(["door"]))["door"].since) == ""
