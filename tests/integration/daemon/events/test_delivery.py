"""From the outbox to real receivers: at least once, in order for each person, each receiver on its own."""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.config.stored_webhooks import AddedWebhooks
from daemon.events import Event, EventBus
from daemon.events.delivery import EventDelivery
from daemon.events.sinks import dispatch
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.webhook_workers import WEBHOOKS
from store import ConflictError, Context, User
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.outbox.deliveries import Deliveries
from store.outbox.events import NewEvent, Outbox
from store.outbox.sink_states import SinkStates
from tests.receivers import WebhookReceiver, receiving

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Counted:
    """Counts attempts."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.waiting: dict[str, int] = {}

    def delivery(self, sink: str, outcome: str) -> None:
        self.attempts[sink, outcome] += 1

    def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None:
        self.waiting[sink] = pending


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds in place of seconds; everything else is real."""
    monkeypatch.setattr(dispatch, "RETRY_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(dispatch, "STATISTICS_SECONDS", 0.0)


@pytest.fixture
async def persons(ctx: Context, user: User) -> list[int]:
    return [(await ctx.persons.add(user, {}))["_id"] for _ in range(5)]


@pytest.fixture
def outbox(ctx: Context, user: User) -> Outbox:
    return Outbox(ctx.database, user["_id"], ctx.box)


def hook(name: str, url: str, **changes: object) -> WebhookSettings:
    facts = {"name": name, "url": url, "secret": KEY, "timeout_seconds": 20, **changes}
    return WebhookSettings.model_validate(facts)


def delivery(
    *hooks: WebhookSettings, observer: Counted | None = None, bus: EventBus | None = None
) -> EventDelivery:
    return EventDelivery(hooks, bus or EventBus(), observer or Counted())


def updates(persons: list[int], number: int) -> list[NewEvent]:
    """Events of these persons in turn, whose subject is their place in the order."""
    return [
        NewEvent(
            "person.renamed",
            str(place),
            AT,
            person_id=persons[place % len(persons)],
            facts={"reason": str(place)},
        )
        for place in range(number)
    ]


def orders(
    receiver: WebhookReceiver, accepted: Callable[[int], bool] = lambda _: True
) -> dict[str, list[int]]:
    """The places of the accepted events by person, without repetitions."""
    got: dict[str, list[int]] = defaultdict(list)
    for number, (_, body) in enumerate(receiver.got):
        message = json.loads(body)
        place = int(message["reason"])
        if accepted(number) and place not in got[message["person"]["id"]]:
            got[message["person"]["id"]].append(place)
    return got


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a look from outside
            await asyncio.sleep(0.02)


async def test_events_arrive_in_order_for_each_person_whatever_fails(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """A receiver that fails at random gets every event at least once, with one id, in order."""
    chance = random.Random(7)  # noqa: S311 - chooses failures
    answers = [chance.choice([204, 204, 500, 503, 404, 302]) for _ in range(5000)]
    observer = Counted()
    with receiving(lambda number: (answers[number], {})) as receiver:
        async with delivery(hook("flaky", receiver.url), observer=observer).running(ctx, user):
            await outbox.add(updates(persons, 60))
            await until(lambda: observer.attempts["flaky", "delivered"] >= 60)
        got = orders(receiver, lambda number: answers[number] == 204)
        ids = defaultdict(set)
        for headers, body in receiver.got:
            ids[json.loads(body)["reason"]].add(headers["webhook-id"])
    assert dict(got) == {str(person): list(range(index, 60, 5)) for index, person in enumerate(persons)}
    assert all(len(known) == 1 for known in ids.values())
    assert observer.attempts["flaky", "retried"] > 0


async def test_one_dead_receiver_delays_no_other(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """Its events wait, are counted, and arrive when it is back, also after a restart of the daemon."""
    observer = Counted()
    with receiving() as receiver:
        free = receiver.port
    with receiving() as alive:
        hooks = (hook("dead", f"http://127.0.0.1:{free}/"), hook("alive", alive.url))
        async with delivery(*hooks, observer=observer).running(ctx, user):
            with capture_logs() as entries:
                await outbox.add(updates(persons, 40))
                await until(lambda: observer.attempts["alive", "delivered"] >= 40)
                await until(lambda: observer.waiting.get("dead") == 40)
        assert observer.attempts["alive", "retried"] == 0
        trouble = [entry for entry in entries if entry["log_level"] == "warning"]
        assert [entry["sink"] for entry in trouble] == ["dead"]
        with receiving(port=free) as back:
            async with delivery(*hooks, observer=observer).running(ctx, user):
                await until(lambda: observer.attempts["dead", "delivered"] >= 40)
            assert sum(map(len, orders(back).values())) == 40
        assert len(alive.got) == 40


async def test_a_receiver_that_is_gone_is_switched_off(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """410 ends the webhook until it is enabled, also after a restart; the log says so."""

    async def states() -> dict[str, int]:
        return await Deliveries(ctx.database, user["_id"], ctx.box, "gone").counts()

    observer = Counted()
    with receiving(lambda _: (410, {})) as receiver, capture_logs() as entries:
        async with delivery(hook("gone", receiver.url), observer=observer).running(ctx, user):
            await outbox.add(updates(persons[:1], 10))
            await until(lambda: any("switched off" in entry["event"] for entry in entries))
            async with asyncio.timeout(30):
                while not await SinkStates(ctx.database, user["_id"], ctx.box).switched_off():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        async with delivery(hook("gone", receiver.url), observer=observer).running(ctx, user):
            await outbox.add([NewEvent("box.started", "later", AT)])  # after a restart
            await until(lambda: observer.attempts["gone", "dead"] >= 2)
            assert len(receiver.got) == 1
            receiver.answer = lambda _: (204, {})
            await SinkStates(ctx.database, user["_id"], ctx.box).switch_on("gone")
            while await states() != {"delivered": 11}:
                await Deliveries(ctx.database, user["_id"], ctx.box, "gone").resend_dead()
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("answer", "hours"), [(400, 24), (500, 0)])
async def test_an_event_that_cannot_be_delivered_is_dead_and_the_next_one_delivered(
    ctx: Context, user: User, outbox: Outbox, persons: list[int], answer: int, hours: float
) -> None:
    """A refused body at once, other failures when their time is over."""
    observer = Counted()
    with receiving(lambda number: (answer if number == 0 else 204, {})) as receiver:
        one = hook("hook", receiver.url, give_up_hours=hours)
        async with delivery(one, observer=observer).running(ctx, user):
            await outbox.add(updates(persons[:1], 3))
            await until(lambda: observer.attempts["hook", "delivered"] >= 2)
    assert observer.attempts["hook", "dead"] == 1
    assert orders(receiver)[str(persons[0])] == [0, 1, 2]


async def test_no_event_of_an_erased_person_is_sent(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """Waiting events are gone with the person; others still arrive."""
    observer = Counted()
    answer = [503]
    with receiving(lambda _: (answer[0], {})) as receiver:
        async with delivery(hook("hook", receiver.url), observer=observer).running(ctx, user):
            await outbox.add(updates(persons[:2], 6))
            await until(lambda: observer.attempts["hook", "retried"] >= 4)
            await outbox.forget(persons[:1])
            await asyncio.sleep(0.2)  # an attempt in progress may end
            sent, answer[0] = len(receiver.got), 204
            await until(lambda: observer.attempts["hook", "delivered"] >= 3)
            await asyncio.sleep(0.2)
        later = [json.loads(body)["person"]["id"] for _, body in receiver.got[sent:]]
    assert set(later) == {str(persons[1])}
    assert (await Deliveries(ctx.database, user["_id"], ctx.box, "hook").counts()) == {"delivered": 3}


async def test_an_erasure_is_told_by_id_alone(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """A receiver can remove what it has of the person, and learns nothing else."""
    await ctx.persons.update_one(user, {"_id": persons[0]}, {"$set": {"name": "Anna"}})
    with receiving() as receiver:
        async with delivery(hook("hook", receiver.url)).running(ctx, user):
            await Erasure(ctx, user).erase(persons[0])
            await until(lambda: bool(receiver.got))
        ((_, body),) = receiver.got
    message = json.loads(body)
    assert (message["type"], message["person"]["id"]) == ("person.erased", str(persons[0]))
    assert "Anna" not in body.decode()


async def test_a_webhook_gets_what_its_filters_pass(
    ctx: Context, user: User, outbox: Outbox, persons: list[int]
) -> None:
    """Types and cameras; a disabled webhook gets nothing."""
    observer = Counted()
    with receiving() as doors, receiving() as off:
        hooks = (
            hook("doors", doors.url, types=["camera.down", "camera.up"], cameras=["door"]),
            hook("off", off.url, enabled=False),
        )
        async with delivery(*hooks, observer=observer).running(ctx, user):
            facts = {"reason": "stalled"}
            for kind, camera in (("camera.down", "door"), ("camera.down", "yard"), ("box.started", None)):
                await outbox.add([NewEvent(kind, f"{kind} {camera}", AT, camera, facts=facts)])
            await until(lambda: len(doors.got) >= 1)
            await asyncio.sleep(0.3)
        ((_, body),) = doors.got
        message = json.loads(body)
    assert (message["type"], message["camera"], message["reason"]) == ("camera.down", "door", "stalled")
    assert off.got == []


async def test_webhooks_are_added_and_removed_while_the_daemon_runs(
    ctx: Context, user: User, outbox: Outbox, persons: list[int], tmp_path: Path
) -> None:
    """An added one gets the events from then on; a removed one gets none; its URL is not in MongoDB."""
    added, observer = AddedWebhooks(tmp_path), Counted()
    with receiving() as receiver:
        running = EventDelivery((), EventBus(), observer, stored=added.all)
        async with running.running(ctx, user):
            await added.add(ctx, user["_id"], hook("late", receiver.url))
            number = 0
            while not receiver.got:
                number += 1
                await outbox.add([NewEvent("box.started", f"{number}", AT)])
                await asyncio.sleep(0.05)
            with pytest.raises(ConflictError, match="late exists already"):
                await added.add(ctx, user["_id"], hook("late", receiver.url))
            stored = str([one async for one in ctx.database[WEBHOOKS].find()])
            assert "late" in stored and "secret-path" not in stored and KEY not in stored
            assert await added.remove(ctx, user["_id"], "late")
            await until(lambda: "sink late" not in {task.get_name() for task in asyncio.all_tasks()})
            sent = len(receiver.got)
            await outbox.add([NewEvent("box.started", "last", AT)])
            while await outbox.unrouted(1):  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.01)
        assert len(receiver.got) == sent
    assert list((tmp_path / "secrets").iterdir()) == []


async def test_changes_by_any_process_reach_the_bus(ctx: Context, user: User, persons: list[int]) -> None:
    """A merge on the command line is an event of the daemon."""
    bus, got = EventBus(), []
    bus.handle("test", [Event], got.append)
    async with delivery(bus=bus).running(ctx, user):
        await PersonChanges(ctx, user, ctx.persons.rules.references).merge(persons[0], persons[1])
        await until(lambda: bool(got))
    await bus.close(5)
    assert [(event.type, event.person_id, event.other) for event in got] == [
        ("person.merged", persons[0], persons[1])
    ]
