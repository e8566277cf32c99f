"""One box at a time reads a camera, or runs a job."""

import asyncio
from datetime import timedelta

import pytest
from bson import ObjectId

from store.context import Context
from store.mongo import term_leases
from store.mongo.term_leases import TermLeases

OWNER = ObjectId()
HOUR = timedelta(hours=1)


def boxes(ctx: Context, *names: str) -> list[TermLeases]:
    return [TermLeases(ctx.database, "camera", OWNER, name) for name in names]


async def test_one_of_two_boxes_gets_a_camera(ctx: Context) -> None:
    """The other one learns which box has it, and keeps learning it for as long as that box renews."""
    first, second = boxes(ctx, "hall", "yard")
    mine = (await first.renew(["door"]))["door"]
    theirs = (await second.renew(["door"]))["door"]
    assert (mine.is_ours, theirs.is_ours, theirs.box, theirs.term) == (True, False, "hall", 1)
    renewed = (await first.renew(["door"]))["door"]
    assert (renewed.is_ours, renewed.term, renewed.since) == (True, 1, mine.since)
    assert renewed.expires > mine.expires


async def test_twenty_boxes_at_once_agree_on_one(ctx: Context) -> None:
    """Also while the lease's document does not exist yet; each camera has exactly one holder."""
    all_boxes = boxes(ctx, *(f"box-{number}" for number in range(20)))
    cameras = ["door", "hall", "$ref", "a.b"]
    await asyncio.gather(*(box.renew(cameras) for box in all_boxes))
    seen = [await box.renew(cameras) for box in all_boxes]
    for cam_id in cameras:
        assert sum(leases[cam_id].is_ours for leases in seen) == 1
        assert len({leases[cam_id].box for leases in seen}) == 1


async def test_a_released_lease_is_taken_at_once(ctx: Context) -> None:
    """Under the next term."""
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    await first.release()
    taken = (await second.renew(["door"]))["door"]
    assert (taken.is_ours, taken.box, taken.term) == (True, "yard", 2)


async def test_the_lease_of_a_dead_box_expires(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its old holder, back again, finds it taken."""
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


async def test_terms_say_who_held_a_camera_when(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first term, and between an expired one and the next, nobody did."""
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
    """Also when it takes longer than a lease lasts; the lease is free as soon as the job has ended."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(term_leases, "RENEW_SECONDS", 0.1)
    first, second = (TermLeases(ctx.database, "job", OWNER, name) for name in ("hall", "yard"))
    async with first.held("merge") as holder:
        assert holder == ""
        await asyncio.sleep(0.8)
        async with second.held("merge") as other:
            assert other == "hall"
    async with second.held("merge") as holder:
        assert holder == ""


@pytest.mark.parametrize(
    "damage",
    [{"terms": 5}, {"term": "x"}, {"expires": "later"}, {"expires": None}, {"holder": 1, "terms": None}],
)
async def test_a_malformed_lease_is_taken_anew(ctx: Context, damage: dict[str, object]) -> None:
    """A document that no Facend wrote keeps no box from its camera."""
    first, second = boxes(ctx, "hall", "yard")
    await first.renew(["door"])
    await ctx.database["camera_leases"].update_one({}, {"$set": damage})
    assert (await second.renew(["door"]))["door"].is_ours
    assert await second.held_by_another("door", (await second.renew(["door"]))["door"].since) == ""
