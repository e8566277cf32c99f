"""Which events are written with sightings and changes of persons, and that none is written twice."""

from datetime import UTC, datetime
from typing import Any

import pytest

from store import Context, User
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.observer import UnobservedStore
from store.outbox.deliveries import Deliveries
from store.outbox.events import NewEvent, Outbox, OutboxEvent
from store.spool.recording import Recording
from tests.sightings import RECORDING, START, sighting

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def outbox(ctx: Context, user: User) -> Outbox:
    return Outbox(ctx.database, user["_id"], ctx.box)


@pytest.fixture
def recording(ctx: Context, user: User) -> Recording:
    return Recording(ctx, user, RECORDING, UnobservedStore())


async def written(outbox: Outbox) -> list[OutboxEvent]:
    return [event async for event in outbox.after(0)]


def seen(person: int, look: int = 0, **changes: Any):
    """A sighting of one visit; `ended` marks it as the last one."""
    ended = changes.pop("ended", None)
    made = sighting(person, look, **changes)
    info = {**made.detector_info, "visit_started_at": START.isoformat()}
    if ended is not None:
        info["visit_ended_at"] = ended.isoformat()
    object.__setattr__(made, "detector_info", info)
    return made


async def test_a_sighting_writes_the_events_of_its_visit_and_person_once(
    ctx: Context, user: User, recording: Recording, outbox: Outbox
) -> None:
    """Start, new person and end, in this order; a repeated attempt, also by another process, adds nothing."""
    stored = await recording.record("s1", seen(1, visit_id="v1", ended=AT))
    again = Recording(ctx, user, RECORDING, UnobservedStore())
    for one in (recording, again):
        await one.record("s1", seen(1, visit_id="v1", ended=AT))
    events = await written(outbox)
    assert [event.type for event in events] == ["visit.started", "person.created", "visit.ended"]
    assert {event.person_id for event in events} == {stored.person_id}
    assert {event.visit_id for event in events} == {"v1"}
    assert events[2].at == AT
    assert events[0].facts["started_at"] == START.replace(microsecond=START.microsecond // 1000 * 1000)


async def test_a_visit_is_updated_only_if_its_person_changes(
    ctx: Context, user: User, recording: Recording, outbox: Outbox
) -> None:
    """Also if another process has stored the visit's first sighting."""
    await recording.record("s1", seen(1, visit_id="v1"))
    await recording.record("s2", seen(1, 1, visit_id="v1"))
    assert [event.type for event in await written(outbox)] == ["visit.started", "person.created"]
    after_a_restart = Recording(ctx, user, RECORDING, UnobservedStore())
    other = await after_a_restart.record("s3", seen(2, visit_id="v1"))
    events = await written(outbox)
    assert [event.type for event in events[2:]] == ["visit.updated", "person.created"]
    assert events[2].person_id == other.person_id


async def test_changes_of_persons_are_events_of_both(
    ctx: Context, user: User, recording: Recording, outbox: Outbox
) -> None:
    """Merge, rename and undo, with the other person; names are not in the outbox."""
    one = (await recording.record("s1", seen(1, visit_id="v1"))).person_id
    two = (await recording.record("s2", seen(2, visit_id="v2"))).person_id
    assert one is not None and two is not None
    begin = await outbox.last_number()
    changes = PersonChanges(ctx, user, ctx.persons.rules.references)
    await changes.merge(one, two)
    await changes.rename(one, "Anna Secret")
    await changes.undo()
    await changes.undo()
    events = [event async for event in outbox.after(begin)]
    assert [event.type for event in events] == [
        "person.merged",
        "person.renamed",
        "person.renamed",
        "person.split",
    ]
    assert [event.facts.get("other") for event in events] == [two, None, None, two]
    assert "Anna" not in str(await ctx.database["events"].find({}).to_list(None))


async def test_an_erased_person_leaves_one_event_without_a_name(
    ctx: Context, user: User, recording: Recording, outbox: Outbox
) -> None:
    """Events and queued deliveries of the person are gone; those of others stay."""
    one = (await recording.record("s1", seen(1, visit_id="v1"))).person_id
    two = (await recording.record("s2", seen(2, visit_id="v2"))).person_id
    assert one is not None
    deliveries = Deliveries(ctx.database, user["_id"], ctx.box, "hook")
    await deliveries.add(await outbox.unrouted(100))
    await Erasure(ctx, user, RECORDING.threshold).erase(one)
    events = await written(outbox)
    assert {event.person_id for event in events[:-1]} == {two}
    assert (events[-1].type, events[-1].person_id, events[-1].facts) == ("person.erased", one, {})
    assert (await deliveries.waiting()).pending == 2


async def test_events_are_numbered_in_the_order_of_writing(outbox: Outbox) -> None:
    """Whatever the times of what they report; a second event with the same subject is not written."""
    for number in range(5):
        await outbox.add(
            [
                NewEvent("camera.down", f"{number}", AT.replace(hour=8 - number), "door"),
                NewEvent("camera.down", "0", AT, "yard"),
            ]
        )
    events = await written(outbox)
    assert [event.at.hour for event in events] == [8, 7, 6, 5, 4]
    assert {event.cam_id for event in events} == {"door"}
    assert len({event.id for event in events}) == 5


async def test_a_box_routes_its_own_events(ctx: Context, user: User, outbox: Outbox) -> None:
    """Two boxes of one user share the outbox; neither delivers what the other wrote."""
    other = Outbox(ctx.database, user["_id"], "other box")
    await outbox.add([NewEvent("box.started", "1", AT)])
    await other.add([NewEvent("box.started", "2", AT)])
    (mine,), (theirs,) = await outbox.unrouted(10), await other.unrouted(10)
    assert mine.id != theirs.id
    await outbox.mark_routed([mine])
    assert (await outbox.unrouted(10), len(await other.unrouted(10))) == ([], 1)
    stranger = await ctx.users.add({})
    assert await written(Outbox(ctx.database, stranger["_id"], ctx.box)) == []
