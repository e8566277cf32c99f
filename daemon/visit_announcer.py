"""Announces a visit in the outbox as soon as it has a usable face, with a provisional identity.

The sighting that follows determines the identity. A visit that begins while the store is not available is
announced with its first stored sighting.
"""

from collections.abc import Callable

import structlog

from daemon.config.person_rules import recording_settings
from daemon.config.settings import Settings
from daemon.events.bus import EventBus
from daemon.events.types import VisitStarted
from daemon.store_session import StoreSession
from pipeline.faces.facen import encode, normalise
from pipeline.models.packs import Pack
from store.collections.galleries import DEFAULT_GALLERY
from store.errors import StoreError
from store.outbox.events import NewEvent, Outbox
from store.settings import ENROLLED_GALLERY

log = structlog.get_logger(__name__)


class VisitAnnouncer:
    """Subscribes to visits that begin."""

    def __init__(self, settings: Settings, pack: Pack, session: Callable[[], StoreSession | None]) -> None:
        """`session` returns None while the store is not open."""
        self._rules = recording_settings(settings.persons, pack)
        self._session = session

    def subscribe(self, events: EventBus) -> None:
        events.handle("first sight", [VisitStarted], self.announce)

    async def announce(self, visit: VisitStarted) -> None:
        session = self._session()
        if session is None or visit.pack != self._rules.pack:
            return
        try:
            await self._announce(session, visit)
        except StoreError as error:
            log.debug("a visit cannot be announced at present", visit=visit.visit_id, reason=str(error))

    async def _announce(self, session: StoreSession, visit: VisitStarted) -> None:
        ctx, owner = session.ctx, session.owner
        gallery = ctx.persons.gallery_of(visit.cam_id)
        face = ctx.faces.wrap_in_model(
            {
                "facen": encode(normalise(visit.facen)),
                "cam_id": visit.cam_id,
                "score": visit.score,
                "detector_info": {"visit_id": visit.visit_id, "pack": visit.pack},
            }
        )
        for name in (DEFAULT_GALLERY, gallery, ENROLLED_GALLERY):
            await ctx.galleries.ensure(owner, name)
        threshold = await ctx.persons.threshold_for(owner, gallery, self._rules.threshold)
        match = await ctx.persons.resolve(owner, face, gallery, threshold)
        friend = await ctx.persons.is_friend(owner, match.person_id, visit.cam_id)
        facts = {
            "started_at": visit.started_at,
            "outcome": match.outcome,
            "confidence": match.confidence,
            "created": False,
            "friend": friend,
            "provisional": True,
        }
        event = NewEvent(
            "visit.started", visit.visit_id, visit.at, visit.cam_id, visit.visit_id, match.person_id, facts
        )
        await Outbox(ctx.database, owner["_id"], ctx.box).add([event])
