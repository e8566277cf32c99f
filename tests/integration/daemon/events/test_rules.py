"""Watch rules on a real store: which visits match, once each, and how a match is delivered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.events.messages import MessageBuilder
from daemon.events.rules.engine import RULES, RuleEngine
from daemon.events.rules.settings import RuleSettings
from store import Context, User
from store.collections.watch_lists import WatchList, WatchLists
from store.identity.changes import PersonChanges
from store.mongo.named_documents import NamedDocuments
from store.outbox.events import NewEvent, Outbox, OutboxEvent

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Site:
    def __init__(self, ctx: Context, user: User) -> None:
        self.ctx, self.user = ctx, user
        self.outbox = Outbox(ctx.database, user["_id"], ctx.box)
        self.lists = WatchLists(ctx.database, user["_id"])
        self._number = 0

    async def person(self, name: str = "") -> int:
        return int((await self.ctx.persons.add(self.user, {"name": name} if name else {}))["_id"])

    async def face(self, person: int, at: datetime, cam_id: str = "door") -> None:
        """A stored face of another visit."""
        self._number += 1
        document = {"owner": self.user["_id"], "person_id": person, "cam_id": cam_id, "timestamp": at}
        document |= {"_id": self._number, "gallery": ["default"], "schema": 1}
        document["detector_info"] = {"visit_id": f"earlier-{self._number}"}
        await self.ctx.database["faces"].insert_one(document)

    async def visit(self, person: int | None, at: datetime = AT, **facts: Any) -> OutboxEvent:
        self._number += 1
        visit = f"v{self._number}"
        facts = {"started_at": at, "outcome": "matched", "confidence": 0.9, "provisional": False, **facts}
        await self.outbox.add([NewEvent("visit.started", visit, at, "door", visit, person, facts)])
        return (await self.outbox.unrouted(100))[-1]

    async def matches(self, event: OutboxEvent, *rules: RuleSettings) -> list[str]:
        """The rules that match, in their order; the evaluation is repeated, as after a crash."""
        before = len(await self.outbox.matches(1000))
        engine = RuleEngine(rules, UTC, self.ctx, self.user)
        await engine.evaluate([event])
        await engine.evaluate([event])
        found = await self.outbox.matches(1000)
        return [str(one.facts["rule"]) for one in reversed(found[: len(found) - before])]


@pytest.fixture
def site(ctx: Context, user: User) -> Site:
    return Site(ctx, user)


def rule(name: str = "rule", **conditions: Any) -> RuleSettings:
    return RuleSettings.model_validate({"name": name, "cooldown_minutes": 0, **conditions})


WHO = [rule(who, who=who) for who in ("unnamed", "named", "new", "friend")]


async def test_who_it_is(site: Site) -> None:
    """A provisional identity can be known, and is never that of a stranger."""
    anna, stranger = await site.person("Anna"), await site.person()
    cases = [
        (await site.visit(anna), ["named"]),
        (await site.visit(anna, provisional=True), ["named"]),
        (await site.visit(anna, friend=True), ["named", "friend"]),
        (await site.visit(stranger), ["unnamed"]),
        (await site.visit(stranger, created=True), ["unnamed", "new"]),
        (await site.visit(stranger, provisional=True), []),
        (await site.visit(None, outcome="ambiguous"), ["unnamed"]),
    ]
    for event, expected in cases:
        assert await site.matches(event, *WHO) == expected


async def test_a_watch_list(site: Site) -> None:
    """Only persons on the list, with the list's own confidence; a merge joins the lists of both."""
    await site.lists.create(WatchList("staff", min_confidence=0.8))
    anna, berta = await site.person("Anna"), await site.person("Berta")
    await site.lists.put_on("staff", anna)
    on_list = rule(list="staff")
    assert await site.matches(await site.visit(anna), on_list) == ["rule"]
    assert await site.matches(await site.visit(anna, confidence=0.7), on_list) == []
    assert await site.matches(await site.visit(berta), on_list) == []
    await PersonChanges(site.ctx, site.user, site.ctx.persons.rules.references).merge(berta, anna)
    assert await site.matches(await site.visit(berta), on_list) == ["rule"]
    await site.lists.drop("staff")
    assert await site.matches(await site.visit(berta), on_list) == []


async def test_a_person_who_was_away(site: Site) -> None:
    """Seen before, and not for so many days; a new person was not away."""
    anna = await site.person("Anna")
    away = rule(not_seen_days=3)
    assert await site.matches(await site.visit(anna), away) == []
    await site.face(anna, AT - timedelta(days=4))
    assert await site.matches(await site.visit(anna), away) == ["rule"]
    await site.face(anna, AT - timedelta(days=2))
    assert await site.matches(await site.visit(anna), away) == []


async def test_many_visits_on_one_day(site: Site) -> None:
    """The visit that exceeds the number; those of yesterday do not count."""
    anna = await site.person("Anna")
    often = rule(visits_a_day=2)
    await site.face(anna, AT - timedelta(hours=1))
    await site.face(anna, AT - timedelta(hours=20))
    assert await site.matches(await site.visit(anna), often) == []
    await site.face(anna, AT - timedelta(hours=2))
    assert await site.matches(await site.visit(anna), often) == ["rule"]


async def test_two_together(site: Site) -> None:
    """Another person at the same camera within the time."""
    anna, berta = await site.person("Anna"), await site.person("Berta")
    together = rule(together_seconds=10)
    await site.face(berta, AT - timedelta(seconds=5), "yard")
    await site.face(berta, AT - timedelta(seconds=30))
    assert await site.matches(await site.visit(anna), together) == []
    await site.face(berta, AT - timedelta(seconds=5))
    assert await site.matches(await site.visit(anna), together) == ["rule"]


async def test_the_same_person_does_not_match_again_soon(site: Site) -> None:
    """The cool-down is that of one person and rule; without a person, of the camera."""
    anna, berta = await site.person("Anna"), await site.person("Berta")
    named, nobody = rule(who="named", cooldown_minutes=10), rule("nobody", who="unnamed", cooldown_minutes=10)
    later, much_later = AT + timedelta(minutes=9), AT + timedelta(minutes=11)
    assert await site.matches(await site.visit(anna), named) == ["rule"]
    assert await site.matches(await site.visit(anna, later), named) == []
    assert await site.matches(await site.visit(berta, later), named) == ["rule"]
    assert await site.matches(await site.visit(anna, much_later), named) == ["rule"]
    assert await site.matches(await site.visit(None), nobody) == ["nobody"]
    assert await site.matches(await site.visit(None, later), nobody) == []


async def test_stored_rules_apply_and_damaged_ones_do_not(site: Site) -> None:
    """A rule that a command added; one of the settings takes precedence."""
    stored = NamedDocuments(site.ctx.database, RULES, site.user["_id"])
    await stored.add("added", {"who": "named"})
    await stored.add("damaged", {"who": 7})
    await stored.add("rule", {"who": "named"})
    event = await site.visit(await site.person("Anna"))
    assert await site.matches(event, rule(who="new")) == ["added"]


async def test_a_match_is_an_event(site: Site) -> None:
    """With the rule, the person and the visit; it can be acknowledged, and goes with an erased person."""
    anna = await site.person("Anna")
    await site.matches(await site.visit(anna), rule(who="named"))
    (match,) = await site.outbox.matches(10)
    message = await MessageBuilder(site.ctx, site.user).build(match)
    assert message is not None and message.person is not None
    assert (message.type, message.rule, message.person.name) == ("rule.matched", "rule", "Anna")
    assert await site.outbox.acknowledge(match.id, "cli anna")
    assert await site.outbox.matches(10, unacknowledged=True) == []
    assert not await site.outbox.acknowledge("evt_0", "cli anna")
    await site.outbox.forget([anna])
    assert await site.outbox.matches(10) == []
