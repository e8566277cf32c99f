"""Erases the faces of persons, and removes photos of other faces that show them.

A sighting's photo is the whole frame. It is removed from faces of the same frame and of visits that were
recorded together with an erased person's visit; their cut-out pictures stay.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId

from store.context import Context
from store.face import Face
from store.face_fields import co_visible_visits, visit_of
from store.identity.lookalikes import LookalikeSearch
from store.identity.removal import FaceRemoval
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import malformed
from store.uploads.face_pictures import urls_of
from store.uploads.keys import stored_key

log = structlog.get_logger()

MAX_PASSES = 5
"""Maximum number of passes; a recorder may add another face during each."""
BATCH = 100
MAX_VISIT_LENGTH = timedelta(hours=12)
"""Maximum time between pictures of two co-visible visits."""


class FacesErasure:
    """Removes the faces of some persons, similar faces without a person, and photos that show them."""

    def __init__(self, ctx: Context, owner: ObjectId, persons: Sequence[int], alike: LookalikeSearch) -> None:
        self._ctx = ctx
        self._owner = owner
        self._persons = persons
        self._theirs = {"person_id": {"$in": list(persons)}}
        self._alike = alike
        self.removal = FaceRemoval(ctx, owner)
        self.removed_ids: set[int] = set()
        self.unassigned = self.faces = self.pictures = self.shared_photos = 0
        self.foreign_urls: list[str] = []

    async def run(self) -> None:
        """Repeat until nothing is found. Faces without a person are removed first: finding them needs the
        persons' facens, which must still exist after a crash in between."""
        for _ in range(MAX_PASSES):
            before = self.faces + self.unassigned
            self.unassigned += await self._remove([face async for face in self._alike.unassigned()])
            batch: list[Face] = []
            async for face in self.removal.faces(self._theirs):
                batch.append(face)
                if len(batch) >= BATCH:
                    self.faces += await self._remove(batch)
                    batch = []
            self.faces += await self._remove(batch)
            await self._remove_malformed()
            if self.faces + self.unassigned == before:
                return

    async def _remove(self, faces: Sequence[Face]) -> int:
        for start in range(0, len(faces), BATCH):
            batch = faces[start : start + BATCH]
            await self._remove_photos_of_others(batch)
            for face in batch:
                self._report_foreign(face)
                self.pictures += (await self.removal.remove(face))[1]
                self.removed_ids.add(face["_id"])
        return len(faces)

    async def _remove_malformed(self) -> None:
        async for document in malformed_faces(self._ctx, self._owner, self._persons):
            await self._remove_photos_of_others([document])
            self._report_foreign(document)
            self.pictures += await self.removal.remove_malformed(document)
            if isinstance(document["_id"], int):
                self.removed_ids.add(document["_id"])
            self.faces += 1

    def _report_foreign(self, face: Mapping[str, Any]) -> None:
        """Record pictures outside the owner's uploads: only this document names them."""
        for field, url in urls_of(face).items():
            if isinstance(url, str) and stored_key(self._ctx.uploads, self._owner, url) is None:
                self.foreign_urls.append(str(url))  # bson.Code is a str that is not hashable
                log.warning("a picture of an erased person stays at another host", field=field, url=url)

    async def _remove_photos_of_others(self, faces: Sequence[Mapping[str, Any]]) -> None:
        """Remove photos of other faces of the same frames, and of visits that were co-visible with theirs."""
        conditions: list[dict[str, Any]] = []
        hashes = [face["photo_hash"] for face in faces if isinstance(face.get("photo_hash"), str)]
        if hashes := list(filter(None, hashes)):
            conditions.append({"photo_hash": {"$in": hashes}})
        for face in faces:
            if not isinstance(face.get("cam_id"), str | None):
                continue
            if visits := co_visible_visits(face):
                conditions.append({"cam_id": face.get("cam_id"), "detector_info.visit_id": {"$in": visits}})
            if (visit := visit_of(face)) is not None and (at := _captured_at(face)) is not None:
                co_visible = {
                    "cam_id": face.get("cam_id"),
                    "detector_info.beside": visit,
                    "timestamp": _around(at, MAX_VISIT_LENGTH),
                }
                conditions.append(co_visible)
        if not conditions:
            return
        ids = [face["_id"] for face in faces]
        others = {"$or": conditions, "photo": {"$exists": True}, "$nor": [self._theirs]}
        async for other in self.removal.faces(others):
            if other["_id"] not in ids:
                self.shared_photos += await self.removal.strip(other, ("photo",), everywhere=True)


async def malformed_faces(
    ctx: Context, owner: ObjectId, persons: Sequence[int]
) -> AsyncIterator[Mapping[str, Any]]:
    """The persons' malformed face documents, which other readers skip."""
    query = {"owner": owner, "person_id": {"$in": list(persons)}, **malformed("faces")}
    try:
        async for document in ctx.database["faces"].ungated.find(query):
            yield document
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.find") from error


def _captured_at(face: Mapping[str, Any]) -> datetime | None:
    """The capture time of a face or of a malformed face document."""
    at = face.timestamp if isinstance(face, Face) else face.get("timestamp")
    return at if isinstance(at, datetime) else None


def _around(at: datetime, distance: timedelta) -> dict[str, datetime]:
    """The condition for a time at most `distance` away. The time of a malformed face may be in any year."""
    earliest, latest = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return {
        "$gte": at - min(distance, at - earliest),
        "$lte": at + min(distance, latest - at),
    }
