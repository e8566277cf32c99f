"""Leases on the cameras, renewed while the daemon runs: each camera is read by one box."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

import structlog

from pipeline.base.background import wait_at_most
from pipeline.types import Sighting
from store import StoreError
from store.errors import RefusedSightingError
from store.face import Face
from store.mongo.term_leases import RENEW_SECONDS, TermLease, TermLeases
from store.spool.recording import SightingGate

log = structlog.get_logger(__name__)


class LeaseStore(Protocol):
    opened: asyncio.Event

    @property
    def camera_leases(self) -> TermLeases | None:
        """The leases of the owner's cameras; None while the store is not open."""
        ...


class CameraLeases:
    """Tracks which of this box's cameras another box reads.

    A box begins by reading all of its cameras, because MongoDB may not be available, and then stops those
    whose lease another box holds.
    """

    def __init__(self, store: LeaseStore, on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._wanted: frozenset[str] = frozenset()
        self._first_seen: dict[str, datetime] = {}
        """By camera: first seen expiry of a lease that another process of this box holds."""
        self._wake = asyncio.Event()
        self.read_elsewhere: dict[str, str] = {}
        """By camera id: the other box that reads it."""

    def want(self, cam_ids: Collection[str]) -> None:
        """Set the cameras that this box reads unless another box does. Leases on other cameras are
        released."""
        if self._wanted != frozenset(cam_ids):
            self._wanted = frozenset(cam_ids)
            self._wake.set()

    async def run(self) -> None:
        """Renew the leases until cancelled."""
        await self._store.opened.wait()
        held: frozenset[str] = frozenset()
        while True:
            self._wake.clear()
            wanted = self._wanted
            if (leases := self._store.camera_leases) is not None:
                try:
                    await leases.release(held - wanted)
                    self._update(await leases.renew(wanted))
                    held = wanted
                except StoreError as error:
                    # The trouble is shown in the store's status. If two boxes read a camera meanwhile, the
                    # terms of the leases decide later which sightings are stored.
                    log.debug("the leases of the cameras cannot be renewed", reason=str(error))
            await wait_at_most(self._wake, RENEW_SECONDS)

    def _update(self, leases: dict[str, TermLease]) -> None:
        elsewhere = {name: lease.box for name, lease in leases.items() if self._is_held_elsewhere(lease)}
        before, self.read_elsewhere = self.read_elsewhere, elsewhere
        for cam_id, box in elsewhere.items():
            if before.get(cam_id) != box:
                log.warning("another box reads this camera, so this one does not", camera=cam_id, box=box)
        for cam_id in before.keys() - elsewhere.keys():
            log.info("no other box reads this camera any longer", camera=cam_id)
        if elsewhere != before:
            self._on_change()

    def _is_held_elsewhere(self, lease: TermLease) -> bool:
        if lease.is_ours:
            self._first_seen.pop(lease.name, None)
            return False
        if not lease.is_this_box:
            return True
        # Probably this box before a restart. If the lease is renewed, another box is a clone of this one.
        return lease.expires > self._first_seen.setdefault(lease.name, lease.expires)


class LeasedSightings:
    """A sighting gate that refuses sightings captured while another box held the camera's lease.

    The other box stores its own sightings. In doubt a sighting is stored: a duplicate is better than a loss.
    """

    def __init__(self, leases: TermLeases, next_gate: SightingGate) -> None:
        """`next_gate`: the gate for sightings that are not refused here."""
        self._leases = leases
        self._next_gate = next_gate

    async def admit(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        if box := await self._leases.held_by_another(sighting.cam_id, sighting.captured_at):
            reason = f"box {box} was reading this camera at that time"
            log.info("a sighting is not stored", camera=sighting.cam_id, sighting=sighting_id, reason=reason)
            raise RefusedSightingError(reason)
        await self._next_gate.admit(sighting_id, sighting, face)
