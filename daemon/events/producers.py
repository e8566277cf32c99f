"""Publishes reports of the pipeline, the cameras and the recorder as events."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from cameras.observer import CameraState
from daemon.events.bus import EventBus
from daemon.events.types import (
    CameraStateChanged,
    PersonCreated,
    SightingStored,
    VisitEnded,
    VisitStarted,
    VisitUpdated,
)
from pipeline.types import EndedVisit, StartedVisit
from store.spool.stored_sighting import StoredSighting

REMEMBERED_VISITS = 1000


class PipelineCounter(Protocol):
    """The methods of `pipeline.types.PipelineObserver` that only feed metrics."""

    def stage(self, stage: str, seconds: float) -> None: ...
    def faces_detected(self, cam_id: str, count: int) -> None: ...
    def shot(self, cam_id: str, outcome: str) -> None: ...
    def analysed(self, cam_id: str) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None: ...


class PipelineEvents:
    """Implements `pipeline.types.PipelineObserver`. Called on the analysis thread."""

    def __init__(self, counter: PipelineCounter, events: EventBus) -> None:
        self._events = events
        self.stage, self.faces_detected = counter.stage, counter.faces_detected
        self.shot, self.analysed, self.skipped = counter.shot, counter.analysed, counter.skipped

    def visit_started(self, visit: StartedVisit) -> None:
        self._events.publish_from_thread(
            VisitStarted(
                visit.cam_id,
                visit.visit_id,
                visit.started_at,
                visit.facen,
                visit.pack,
                visit.score,
                at=visit.seen_at,
            )
        )

    def visit_ended(self, visit: EndedVisit) -> None:
        self._events.publish_from_thread(
            VisitEnded(
                visit.cam_id,
                visit.visit_id,
                visit.started_at,
                visit.usable,
                visit.sighting_follows,
                at=visit.ended_at,
            )
        )


class CameraCounter(Protocol):
    """The methods of `cameras.observer.CameraObserver` that only feed metrics."""

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None: ...
    def reconnect(self, cam_id: str, reason: str) -> None: ...


class CameraEvents:
    """Implements `cameras.observer.CameraObserver`. Called on the cameras' threads."""

    def __init__(self, counter: CameraCounter, events: EventBus) -> None:
        self._events = events
        self.frames_decoded, self.skipped = counter.frames_decoded, counter.skipped
        self.reconnect = counter.reconnect

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        self._events.publish_from_thread(CameraStateChanged(cam_id, state, reason))


class StoredSightings:
    """Publishes stored sightings, new persons, and visits whose identity was determined or changed."""

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._persons: OrderedDict[tuple[str, str], int | None] = OrderedDict()

    def __call__(self, stored: StoredSighting) -> None:
        publish, at = self._events.publish, stored.captured_at
        publish(SightingStored(stored, at=at))
        if stored.created and stored.person_id is not None:
            publish(PersonCreated(stored.person_id, stored.cam_id, stored.visit_id, at=at))
        if self._identity_changed(stored):
            publish(VisitUpdated(stored, at=at))

    def _identity_changed(self, stored: StoredSighting) -> bool:
        """Whether this is the visit's first sighting, or its person changed."""
        visit = stored.cam_id, stored.visit_id
        changed = visit not in self._persons or self._persons[visit] != stored.person_id
        self._persons[visit] = stored.person_id
        self._persons.move_to_end(visit)
        if len(self._persons) > REMEMBERED_VISITS:
            self._persons.popitem(last=False)
        return changed
