"""Stores one sighting, step by step: person, friend, face, galleries, pictures, events.

Every step can be repeated after a crash at any moment. The face document has the sighting's unique id, and
the URLs of its pictures before they are uploaded: a second attempt finds the document, completes its
galleries and writes the same pictures again. A person created for a sighting also has its id, and is reused
by the second attempt.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pipeline.faces.facen import FacenError, normalise
from pipeline.limits import MAX_PIXELS
from pipeline.types import Sighting
from store.collections.galleries import DEFAULT_GALLERY, checked_name
from store.collections.person_resolution import PersonMatch
from store.collections.users import UserArgument
from store.context import Context
from store.errors import (
    BadFilterError,
    BadValueError,
    ConflictError,
    CounterMissingError,
    MalformedSightingError,
    NotFoundError,
    StoreStateError,
)
from store.face import Face
from store.face_fields import checked_bbox
from store.identity.changes import PersonChanges
from store.identity.references import References
from store.identity.removal import FaceRemoval
from store.identity.unassigned import UnassignedFaces
from store.mongo.guard import checked_threshold
from store.mongo.malformed import malformed_document
from store.observer import StoreObserver, StoreStage
from store.recognition.thresholds import AutoThreshold, Threshold
from store.settings import ENROLLED_GALLERY
from store.spool.sighting_events import SightingEvents
from store.spool.stored_sighting import StoredSighting, face_document, stored_sighting
from store.uploads.face_pictures import PICTURES
from store.uploads.image import Image, decode

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RecordingSettings:
    """Requirements for sightings, and the recognition threshold."""

    pack: str
    """The model pack. Facens of other packs are not comparable."""
    facen_size: int
    threshold: Threshold
    """Minimum confidence, 0 to 1, for a match with a known person."""

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, AutoThreshold):
            checked_threshold(self.threshold)


class SightingGate(Protocol):
    """Decides whether a sighting is stored."""

    async def admit(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        """Called once per attempt while the face is not stored. May add fields to the face.

        Raises:
            RefusedSightingError: the sighting must never be stored.
        """
        ...


class Recording:
    """Stores sightings for one user."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        settings: RecordingSettings,
        observer: StoreObserver,
        gate: SightingGate | None = None,
    ) -> None:
        self._ctx = ctx
        self._gate = gate
        self._user = user
        self._settings = settings
        self._observer = observer
        self._references = References(ctx, user, ctx.persons.rules.references)
        self._unassigned = UnassignedFaces(ctx, user, settings.threshold)
        self._changes = PersonChanges(ctx, user, ctx.persons.rules.references)
        self._events = SightingEvents(ctx, user)

    async def record(self, sighting_id: str, sighting: Sighting) -> StoredSighting:
        """Store the sighting. Idempotent for each id.

        Raises:
            MalformedSightingError: the sighting can never be stored.
            RefusedSightingError: the gate refuses the sighting.
            StoreStateError: a stored document is malformed; the sighting can be stored once it is corrected.
            StoreError: a temporary failure.
        """
        image = await asyncio.to_thread(self._examine, sighting)
        try:
            gallery = self._ctx.persons.gallery_of(sighting.cam_id)
            face = await self._ctx.faces.find_one(self._user, {"sighting_id": sighting_id})
            if face is None:
                face = await self._add_face(sighting_id, sighting, image, gallery)
            else:
                await self._ctx.faces.refresh_visit(face)
            known = face.get("person_id") is not None
            with self._timed("store"):
                galleries = [DEFAULT_GALLERY, gallery] if known else [DEFAULT_GALLERY]
                await self._complete_galleries(face, galleries)
                name = await self._name_of(face)
                if known:
                    await self._references.consider(face, gallery)
                    await self._unassigned.assign_visit(face)
            with self._timed("upload"):
                face.normalized = sighting.normalized
                await self._ctx.faces.upload(face, image)
            with self._timed("store"):
                await self._events.write(sighting_id, sighting, face)
        except BadFilterError:  # the queries are the same for every sighting: the server is at fault
            raise
        except (BadValueError, ConflictError, CounterMissingError) as error:
            # The sighting itself is valid, so a stored document is at fault.
            raise StoreStateError(f"{error}; see `facend doctor`") from error
        return stored_sighting(sighting_id, sighting, face, name)

    async def forget(self, sighting_id: str) -> None:
        """Remove partial results of a sighting: its face, pictures and new person.

        A complete face, which has all its pictures, is kept.
        """
        face = await self._ctx.faces.find_one(self._user, {"sighting_id": sighting_id})
        if face is not None:
            named = all(isinstance(face.get(field), str) for field in PICTURES)
            if named and not await self._ctx.faces.missing(face):
                return
            await FaceRemoval(self._ctx, self._user).remove(face)
        created = await self._ctx.persons.find_one(self._user, {"sighting_id": sighting_id})
        if created is not None and not await self._ctx.faces.count(self._user, {"person_id": created["_id"]}):
            await self._ctx.persons.remove_one(self._user, {"_id": created["_id"]})

    async def _complete_galleries(self, face: Face, galleries: list[str]) -> None:
        try:
            await self._ctx.faces.complete_galleries(face, galleries)
        except NotFoundError:  # a gallery was removed since an earlier attempt
            for name in galleries:
                await self._ctx.galleries.ensure(self._user, name)
            await self._ctx.faces.complete_galleries(face, galleries)

    def _examine(self, sighting: Sighting) -> Image:
        """The decoded photo. MalformedSightingError for a sighting that can never be stored."""
        expected = self._settings
        if sighting.pack != expected.pack:
            raise MalformedSightingError(
                f"its facen is of the model pack {sighting.pack}, not of {expected.pack}"
            )
        if len(sighting.facen) != expected.facen_size:
            raise MalformedSightingError(
                f"its facen has the size {len(sighting.facen)}; {expected.pack} has {expected.facen_size}"
            )
        image = _checked_part(
            "photo", lambda: Image(sighting.photo, MAX_PIXELS)
        )  # the limit of the pipeline, which made the photo
        _checked_part("facen", lambda: normalise(sighting.facen))
        _checked_part("cam_id", lambda: checked_name(f"cam_{sighting.cam_id}"))
        _checked_part("photo", lambda: image.pixels)
        _checked_part("bbox", lambda: image.crop(checked_bbox(sighting.bbox)))
        _checked_part("aligned face", lambda: decode(sighting.normalized))
        _checked_part("photo", lambda: image.md5)  # computed here, off the event loop, and cached
        return image

    async def _add_face(self, sighting_id: str, sighting: Sighting, image: Image, gallery: str) -> Face:
        for name in (DEFAULT_GALLERY, gallery, ENROLLED_GALLERY):
            await self._ctx.galleries.ensure(self._user, name)
        face = self._ctx.faces.wrap_in_model(face_document(sighting_id, sighting, image.md5))
        if self._gate is not None:
            await self._gate.admit(sighting_id, sighting, face)
        with self._timed("identify"):
            threshold = await self._ctx.persons.threshold_for(self._user, gallery, self._settings.threshold)
            match = await self._ctx.persons.resolve(self._user, face, gallery, threshold, create=True)
            persons = self._ctx.persons.as_of(sighting.captured_at)
            friend = await persons.is_friend(self._user, match.person_id, sighting.cam_id)
        face.update(_identity(match, friend))
        with self._timed("store"):
            await self._insert(face)
            await self._changes.follow_merges(face)
        return face

    async def _name_of(self, face: Face) -> str:
        """The name of the face's person; empty for no person, a nameless person or a new one."""
        if face.get("person_id") is None or face.get("person_created"):
            return ""
        query = {"_id": face["person_id"], "owner": face["owner"]}
        person = await self._ctx.database["persons"].find_one(query, {"name": 1})
        name = None if person is None else person.get("name")
        return name if isinstance(name, str) else ""

    async def _insert(self, face: Face) -> None:
        """Add the face. MalformedSightingError if MongoDB cannot store it, or it conflicts with another
        face."""
        try:
            await self._ctx.faces.add(self._user, face)
        except BadFilterError:
            raise
        except BadValueError as error:
            raise MalformedSightingError(f"the store refuses it: {error}") from error
        except ConflictError as error:
            same = {"owner": face["owner"], "sighting_id": face["sighting_id"]}
            if stored := await malformed_document(self._ctx.database, "faces", same):
                raise StoreStateError(f"{stored}; see `facend doctor`") from error
            raise MalformedSightingError(f"the store refuses it: {error}") from error

    @contextmanager
    def _timed(self, stage: StoreStage) -> Iterator[None]:
        since = time.perf_counter()
        try:
            yield
        finally:
            self._observer.stage(stage, time.perf_counter() - since)


def _checked_part(name: str, check: Callable[[], _Result]) -> _Result:
    try:
        return check()
    except (FacenError, BadValueError) as error:
        raise MalformedSightingError(f"its {name}: {error}") from error


def _identity(match: PersonMatch, friend: bool) -> dict[str, Any]:
    return {
        "person_id": match.person_id,
        "person_created": match.created,
        "person_outcome": match.outcome,
        "confidence": match.confidence,
        "friend": friend,
        **({"person_reason": match.reason} if match.reason else {}),
    }
