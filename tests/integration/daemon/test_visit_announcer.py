"""A visit is announced before its sighting is stored, and again when its identity is clear."""

from datetime import UTC, datetime

import pytest

from daemon.config.settings import Settings
from daemon.events.messages import MessageBuilder
from daemon.events.types import VisitStarted
from daemon.store_session import StoreSession
from daemon.visit_announcer import VisitAnnouncer
from pipeline.models.pack_files import resolve
from store import Context, User
from store.mongo.term_leases import TermLeases
from store.observer import UnobservedStore
from store.outbox.events import Outbox, OutboxEvent
from store.spool.recording import Recording
from tests.faces import models_dir
from tests.sightings import PACK, RECORDING, person_facen, sighting

AT = datetime(2026, 3, 2, 8, 0, 1, tzinfo=UTC)


@pytest.fixture
def first_sight(ctx: Context, user: User) -> VisitAnnouncer:
    session = StoreSession(ctx, user, TermLeases(ctx.database, "camera", user["_id"], ""), "")
    return VisitAnnouncer(Settings(), resolve(PACK, models_dir()), lambda: session)


def visit(person: int, visit_id: str, pack: str = PACK) -> VisitStarted:
    return VisitStarted("door", visit_id, AT, person_facen(person, 3), pack, -0.5, at=AT)


async def written(ctx: Context, user: User) -> list[OutboxEvent]:
    return [event async for event in Outbox(ctx.database, user["_id"], ctx.box).after(0)]


async def test_a_known_person_is_announced_at_once_and_again_when_it_is_clear(
    ctx: Context, user: User, first_sight: VisitAnnouncer
) -> None:
    """Provisionally with the person, then finally; no third event for a sighting that says the same."""
    recording = Recording(ctx, user, RECORDING, UnobservedStore())
    known = await recording.record("s0", sighting(1, visit_id="v0"))
    before = len(await written(ctx, user))
    await first_sight.announce(visit(1, "v1"))
    await first_sight.announce(visit(1, "v1"))
    await recording.record("s1", sighting(1, 1, visit_id="v1"))
    await recording.record("s2", sighting(1, 2, visit_id="v1"))
    started, updated = (await written(ctx, user))[before:]
    assert (started.type, started.person_id) == ("visit.started", known.person_id)
    assert (updated.type, updated.person_id) == ("visit.updated", known.person_id)
    builder = MessageBuilder(ctx, user)
    first, second = await builder.build(started), await builder.build(updated)
    assert first is not None and second is not None and first.match is not None and second.match is not None
    assert (first.match.provisional, second.match.provisional) == (True, False)


async def test_a_stranger_is_announced_without_a_person_and_none_is_created(
    ctx: Context, user: User, first_sight: VisitAnnouncer
) -> None:
    """The person is created with the sighting."""
    await first_sight.announce(visit(5, "v1"))
    (started,) = await written(ctx, user)
    assert (started.type, started.person_id, started.visit_id) == ("visit.started", None, "v1")
    assert await ctx.persons.count(user, None) == 0
    stored = await Recording(ctx, user, RECORDING, UnobservedStore()).record("s", sighting(5, visit_id="v1"))
    later = (await written(ctx, user))[1:]
    assert [(event.type, event.person_id) for event in later] == [
        ("visit.updated", stored.person_id),
        ("person.created", stored.person_id),
    ]


async def test_a_visit_while_the_store_is_away_is_announced_with_its_sighting(
    ctx: Context, user: User
) -> None:
    """Nothing fails meanwhile; a facen of another pack is not compared."""
    away = VisitAnnouncer(Settings(), resolve(PACK, models_dir()), lambda: None)
    await away.announce(visit(1, "v1"))
    session = StoreSession(ctx, user, TermLeases(ctx.database, "camera", user["_id"], ""), "")
    other = VisitAnnouncer(Settings(), resolve(PACK, models_dir()), lambda: session)
    await other.announce(visit(1, "v1", pack="buffalo_l"))
    assert await written(ctx, user) == []
    await Recording(ctx, user, RECORDING, UnobservedStore()).record("s", sighting(1, visit_id="v1"))
    assert (await written(ctx, user))[0].type == "visit.started"
