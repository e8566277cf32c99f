"""What is published for cameras, visits and stored sightings."""

import asyncio
from datetime import UTC, datetime

from cameras.observer import CameraState
from daemon.events import (
    CameraStateChanged,
    Event,
    EventBus,
    PersonCreated,
    SightingStored,
    VisitEnded,
    VisitStarted,
    VisitUpdated,
)
from daemon.events.producers import CameraEvents, PipelineEvents, StoredSightings
from daemon.runtime.metrics import Metrics
from pipeline.types import EndedVisit, StartedVisit
from tests.sightings import person_facen, stored_sighting

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACEN = person_facen(1)


async def published(work) -> list[Event]:
    bus, got = EventBus(), []
    bus.handle("test", [Event], got.append)
    work(bus)
    await asyncio.sleep(0)  # events of other threads come by way of the loop
    await bus.close(5)
    return got


async def test_a_visit_is_updated_when_its_person_is_determined_or_changes() -> None:
    """The first sighting of a visit, and each later one with another person; two visits are kept apart."""
    seen = [
        stored_sighting(person_id=None, outcome="withheld"),
        stored_sighting(person_id=None, outcome="withheld"),
        stored_sighting(person_id=7),
        stored_sighting(person_id=7),
        stored_sighting(person_id=7, visit_id="w"),
        stored_sighting(person_id=7, cam_id="yard"),
        stored_sighting(person_id=8),
    ]

    def work(bus: EventBus) -> None:
        publish = StoredSightings(bus)
        for one in seen:
            publish(one)

    events = await published(work)
    assert [event.stored for event in events if isinstance(event, SightingStored)] == seen
    updates = [event.stored for event in events if isinstance(event, VisitUpdated)]
    assert updates == [seen[0], seen[2], seen[4], seen[5], seen[6]]


async def test_a_person_is_created_with_the_sighting_that_made_them() -> None:
    """And not with a sighting of a known person."""

    def work(bus: EventBus) -> None:
        publish = StoredSightings(bus)
        publish(stored_sighting(person_id=9, created=True, outcome="created"))
        publish(stored_sighting(person_id=9))

    (created,) = [event for event in await published(work) if isinstance(event, PersonCreated)]
    assert (created.person_id, created.cam_id, created.visit_id) == (9, "hall", "v")


async def test_visits_and_states_are_published_and_the_rest_is_counted() -> None:
    """Events have the time of what happened, not of the call."""
    metrics = Metrics(version="0", pack="p", runtime="r")

    def work(bus: EventBus) -> None:
        pipeline, camera = PipelineEvents(metrics, bus), CameraEvents(metrics, bus)
        pipeline.visit_started(StartedVisit("door", "v", AT, AT, FACEN, "pack", -0.5))
        pipeline.visit_ended(EndedVisit("door", "v", AT, AT, usable=True, sighting_follows=True))
        pipeline.analysed("door")
        camera.state("door", CameraState.RED, "refused")
        camera.reconnect("door", "refused")

    got = await published(work)
    started, ended = got[:2]
    assert isinstance(started, VisitStarted)
    assert (started.cam_id, started.visit_id, started.at, started.facen is FACEN) == ("door", "v", AT, True)
    assert ended == VisitEnded("door", "v", AT, True, True, at=AT)
    state = got[2]
    assert isinstance(state, CameraStateChanged)
    assert (state.cam_id, state.state, state.reason) == ("door", CameraState.RED, "refused")
    sample = metrics.registry.get_sample_value
    assert sample("facend_frames_analysed_total", {"camera": "door"}) == 1
    assert sample("facend_camera_reconnects_total", {"camera": "door", "reason": "refused"}) == 1
