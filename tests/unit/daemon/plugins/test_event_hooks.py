"""Hooks after storing and subscribers of plugins: order, queues and failures."""

import asyncio
from datetime import UTC, datetime

import pytest

from daemon.events import BoxStarted, EventBus, SightingStored, VisitStarted
from daemon.plugins import PluginApp
from daemon.plugins.event_hooks import MAX_WAITING_EVENTS, EventHook
from tests.facens import person_facen
from tests.plugins import plugin_hook
from tests.sightings import stored_sighting


def visit_started(number):
    return VisitStarted("door", number, datetime.now(UTC), person_facen(1), "pack", -0.5)


@pytest.fixture
async def events():
    bus = EventBus()
    yield bus
    await bus.close(5)


async def test_events_are_delivered_in_order_and_a_slow_hook_delays_no_other(events):
    """Each hook gets every event of its types, in order; publishing does not wait for them."""
    slowly, fast = [], []

    async def slow(event):
        await asyncio.sleep(0.01)
        slowly.append(event.visit_id)

    hooks = [
        EventHook.subscriber(plugin_hook(slow), [VisitStarted]),
        EventHook.subscriber(
            plugin_hook(lambda event: fast.append(event.visit_id)), [VisitStarted, BoxStarted]
        ),
    ]
    for one in hooks:
        one.open(events)
    for number in range(10):
        events.publish(visit_started(number))
    await hooks[1].close(events)
    assert len(slowly) < 10
    await hooks[0].close(events)
    assert slowly == fast == list(range(10))


async def test_a_hook_too_far_behind_misses_the_oldest_events(events):
    """The queue is bounded, missed events are counted, and the newest are delivered."""
    told, begin = [], asyncio.Event()

    async def late(event):
        await begin.wait()
        told.append(event.visit_id)

    behind = plugin_hook(late)
    subscriber = EventHook.subscriber(behind, [VisitStarted])
    subscriber.open(events)
    events.publish(visit_started(-1))
    await asyncio.sleep(0.01)
    for number in range(MAX_WAITING_EVENTS + 3):
        events.publish(visit_started(number))
    begin.set()
    async with asyncio.timeout(10):
        while len(told) < MAX_WAITING_EVENTS + 1:  # noqa: ASYNC110 - a look from outside
            await asyncio.sleep(0.01)
    await subscriber.close(events)
    assert told == [-1, *range(3, MAX_WAITING_EVENTS + 3)]
    assert behind.plugin.status().lost == 3


async def test_an_event_that_a_hook_fails_on_is_counted_and_the_next_one_delivered(events):
    """One bad sighting does not end the subscription; a hook after storing gets the sighting itself."""
    told = []

    def picky(stored):
        if stored.face_id == 1:
            raise ValueError("not this one")
        told.append(stored.face_id)

    picking = plugin_hook(picky, where="after")
    after = EventHook.after_storing(picking)
    after.open(events)
    for number in range(3):
        events.publish(SightingStored(stored_sighting(face_id=number)))
    await after.close(events)
    assert told == [0, 2]
    assert (picking.plugin.lost, picking.plugin.error) == (1, "after: ValueError: not this one")


@pytest.mark.parametrize(
    ("function", "types", "error"),
    [
        (print, (), "name the types"),
        (print, (int,), "names classes of daemon.events"),
        (print, ("visit.updated",), "names classes of daemon.events"),
        (None, (VisitStarted,), "a subscriber is a function"),
    ],
)
def test_a_subscription_that_cannot_work_is_refused_at_once(function, types, error):
    """The plugin's activate fails with what is expected, instead of a hook that is never called."""
    app = PluginApp("plug", None)
    with pytest.raises((ValueError, TypeError), match=error):
        app.subscribe(function, *types)
