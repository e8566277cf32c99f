"""The event bus: who gets which events, and what happens to slow and failing subscribers."""

import asyncio
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.events.bus import EventBus
from daemon.events.types import EVENTS, BoxStarted, CameraRemoved, Event, VisitStarted
from tests.sightings import person_facen

AT = datetime(2026, 3, 1, tzinfo=UTC)
FACEN = person_facen(1)


class Counted:
    """An observer that counts."""

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def event_published(self, event_type: str) -> None:
        self.published[event_type] += 1

    def event_dropped(self, subscriber: str) -> None:
        self.dropped[subscriber] += 1


def visit(number: int) -> VisitStarted:
    return VisitStarted("door", str(number), AT, FACEN, "pack", -0.5)


async def test_a_subscriber_gets_the_events_of_its_types_in_order() -> None:
    """Events of other types, and events from before the subscription, are not delivered."""
    bus, got = EventBus(), []
    bus.publish(visit(0))
    bus.handle("visits", [VisitStarted], lambda event: got.append(event.visit_id))
    everything: list[Event] = []
    bus.handle("all", [Event], everything.append)
    bus.publish(visit(1))
    bus.publish(BoxStarted())
    bus.publish(visit(2))
    await bus.close(5)
    assert got == ["1", "2"]
    assert [event.type for event in everything] == ["visit.started", "box.started", "visit.started"]


async def test_a_subscriber_that_hangs_delays_neither_the_producer_nor_another() -> None:
    """Its queue keeps the newest events; each dropped one is counted, and the log has one line."""
    counted = Counted()
    bus, begin, late, others, missed = EventBus(counted), asyncio.Event(), [], [], []

    async def hang(event: VisitStarted) -> None:
        await begin.wait()
        late.append(int(event.visit_id))

    bus.handle("slow", [VisitStarted], hang, capacity=10, on_dropped=lambda: missed.append(1))
    bus.handle("fast", [VisitStarted], lambda event: others.append(int(event.visit_id)))
    with capture_logs() as entries:
        for number in range(50):
            bus.publish(visit(number))
            await asyncio.sleep(0)
    assert others == list(range(50))
    begin.set()
    await bus.close(5)
    assert late == [0, *range(40, 50)]
    assert (counted.dropped, len(missed)) == (Counter(slow=39), 39)
    assert counted.published == Counter({"visit.started": 50})
    lines = [entry for entry in entries if entry["log_level"] == "warning"]
    assert [line["subscriber"] for line in lines] == ["slow"]


async def test_a_subscriber_that_fails_does_not_end_in_silence() -> None:
    """The failure reaches the loop's exception handler, under the subscriber's name."""
    failed: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.set_result(context))
    bus, got = EventBus(), []

    def fail(event: VisitStarted) -> None:
        raise ZeroDivisionError

    bus.handle("broken", [VisitStarted], fail)
    bus.handle("sound", [VisitStarted], got.append)
    bus.publish(visit(1))
    context = await asyncio.wait_for(failed, 5)
    assert context["supervised"] == "subscriber broken"
    assert isinstance(context["exception"], ZeroDivisionError)
    bus.publish(visit(2))
    await bus.close(5)
    assert len(got) == 2


async def test_threads_publish_in_their_order() -> None:
    """Events of one thread arrive in its order; without a subscriber and after the end nothing happens."""
    bus = EventBus()
    await asyncio.to_thread(bus.publish_from_thread, visit(-1))
    got: list[VisitStarted] = []
    bus.handle("visits", [VisitStarted], got.append)

    def publish(cam_id: str) -> None:
        for number in range(200):
            bus.publish_from_thread(VisitStarted(cam_id, str(number), AT, FACEN, "pack", -0.5))

    threads = [threading.Thread(target=publish, args=(name,)) for name in ("door", "yard")]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    await bus.close(5)
    for name in ("door", "yard"):
        assert [int(event.visit_id) for event in got if event.cam_id == name] == list(range(200))


def test_an_event_after_the_end_of_the_loop_is_no_error() -> None:
    """Camera threads may outlive the event loop."""
    bus = EventBus()

    async def run() -> None:
        bus.subscribe("visits", [VisitStarted])

    asyncio.run(run())
    bus.publish_from_thread(visit(1))


async def test_a_subscription_is_read_as_an_iterator_and_ends_when_it_is_removed() -> None:
    """Queued events are still delivered; later ones are not."""
    bus = EventBus()
    subscription = bus.subscribe("live view", [VisitStarted, CameraRemoved])
    bus.publish(visit(1))
    bus.publish(CameraRemoved("door"))
    await bus.remove(subscription, 1)
    bus.publish(visit(2))
    assert [event.type async for event in subscription] == ["visit.started", "camera.removed"]


async def test_the_end_waits_for_a_subscriber_only_until_the_timeout() -> None:
    """A subscriber that hangs is cancelled and named; the others have handled everything."""
    bus, got = EventBus(), []
    cancelled = asyncio.Event()

    async def hang(event: VisitStarted) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    bus.handle("hanging", [VisitStarted], hang)
    bus.handle("fast", [VisitStarted], got.append)
    for number in range(3):
        bus.publish(visit(number))
    with capture_logs() as entries:
        await asyncio.wait_for(bus.close(0.1), 5)
    assert cancelled.is_set()
    assert [(entry["subscriber"], entry["events"]) for entry in entries] == [("hanging", 2)]
    assert len(got) == 3


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_name_of_its_own(kind: type[Event]) -> None:
    """It identifies the type in metrics and messages."""
    assert [other for other in EVENTS if other.type == kind.type] == [kind]
    assert "." in kind.type
