"""Writes events of cameras, visits, the store and the box to the outbox.

`store.spool.sighting_events` writes the events of sightings.
"""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import structlog

from cameras.observer import CameraState
from daemon.events.bus import EventBus
from daemon.events.types import (
    BoxStarted,
    CameraRemoved,
    CameraStateChanged,
    Event,
    StoreStateChanged,
    VisitEnded,
)
from store.errors import StoreError
from store.outbox.events import NewEvent, Outbox

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0


class OutboxWriter:
    """A subscriber of the event bus. While the store is unavailable, events wait in its queue."""

    def __init__(self, outbox: Callable[[], Outbox | None]) -> None:
        """`outbox` returns None while the store is not open."""
        self._outbox = outbox
        self._down: dict[str, CameraState] = {}
        self._degraded = False

    def subscribe(self, events: EventBus) -> None:
        types = (CameraStateChanged, CameraRemoved, StoreStateChanged, BoxStarted, VisitEnded)
        events.handle("outbox", types, self._handle)

    async def _handle(self, event: Event) -> None:
        if (new := self._translate(event)) is None:
            return
        while True:
            if (outbox := self._outbox()) is not None:
                try:
                    await outbox.add([new])
                except StoreError as error:
                    log.debug("an event waits for the store", type=new.type, reason=str(error))
                else:
                    return
            await asyncio.sleep(RETRY_SECONDS)

    def _translate(self, event: Event) -> NewEvent | None:
        match event:
            case CameraStateChanged(cam_id=cam_id, state=CameraState.RED, reason=reason):
                if cam_id in self._down:
                    return None
                self._down[cam_id] = CameraState.RED
                return NewEvent("camera.down", _unique_subject(), event.at, cam_id, facts={"reason": reason})
            case CameraStateChanged(cam_id=cam_id, state=CameraState.GREEN):
                if self._down.pop(cam_id, None) is None:
                    return None
                return NewEvent("camera.up", _unique_subject(), event.at, cam_id)
            case CameraRemoved(cam_id=cam_id):
                self._down.pop(cam_id, None)
                return None
            case StoreStateChanged(trouble=trouble):
                if bool(trouble) == self._degraded:
                    return None
                self._degraded = bool(trouble)
                kind = "store.degraded" if trouble else "store.healthy"
                return NewEvent(
                    kind, _unique_subject(), event.at, facts={"reason": trouble} if trouble else {}
                )
            case BoxStarted():
                return NewEvent("box.started", _unique_subject(), event.at)
            case VisitEnded(usable=True, sighting_follows=False) as ended:
                facts = {"started_at": ended.started_at}
                return NewEvent(
                    "visit.ended", ended.visit_id, ended.at, ended.cam_id, ended.visit_id, facts=facts
                )
            case _:
                return None


def _unique_subject() -> str:
    return uuid4().hex
