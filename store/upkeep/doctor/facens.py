"""Checks that the facen storage has exactly the entries that the faces' lists of galleries require."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from store.context import Context
from store.errors import BadValueError
from store.face_fields import facen_of
from store.facens.sync.change_stream import ChangeStream
from store.upkeep.doctor.findings import Finding, FindingKind, Scope

Ids = NDArray[np.int64]


class FacensCheck:
    """Compares the galleries one by one; each suspect is checked again."""

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._faces = ctx.database["faces"]
        self._change_stream = ChangeStream(self._faces, ctx.facens, ctx.faces.locks)

    async def run(self) -> AsyncIterator[Finding]:
        for owner, gallery in await self._galleries():
            stored = np.array(await self._ctx.facens.ids(owner, gallery), dtype=np.int64)
            listed = await self._listed(owner, gallery)
            async for finding in self._without_entry(owner, gallery, np.setdiff1d(listed, stored)):
                yield finding
            async for finding in self._without_face(owner, gallery, np.setdiff1d(stored, listed)):
                yield finding

    async def _galleries(self) -> list[tuple[ObjectId, str]]:
        steps: list[dict[str, Any]] = [
            {"$unwind": "$gallery"},
            {"$group": {"_id": {"owner": "$owner", "gallery": "$gallery"}}},
        ]
        found = {(one["_id"]["owner"], one["_id"]["gallery"]) async for one in self._faces.aggregate(steps)}
        found.update(await self._ctx.facens.galleries())
        return sorted(key for key in found if key[0] in self._scope.checked)

    async def _listed(self, owner: ObjectId, gallery: str) -> Ids:
        cursor = self._faces.find({"owner": owner, "gallery": gallery}, {"_id": 1})
        return np.array([face["_id"] async for face in cursor], dtype=np.int64)

    async def _without_entry(self, owner: ObjectId, gallery: str, suspects: Ids) -> AsyncIterator[Finding]:
        suspects = np.array([one for one in suspects if not self._scope.is_young(int(one))], dtype=np.int64)
        if not len(suspects):
            return
        stored = set(await self._ctx.facens.ids(owner, gallery))
        for face_id in map(int, suspects):
            face = await self._faces.find_one({"_id": face_id, "owner": owner, "gallery": gallery})
            if face is None or face_id in stored:
                continue
            subject, detail = f"face {face_id}", f"gallery {gallery}"
            try:
                facen_of(face, self._ctx.faces.facen_size)
            except BadValueError as error:
                yield Finding(FindingKind.UNUSABLE_FACEN, subject, f"{detail}: {error}")
                continue
            yield Finding(
                FindingKind.NO_ENTRY, subject, detail, await self._repair(face_id, "added the entry")
            )

    async def _without_face(self, owner: ObjectId, gallery: str, suspects: Ids) -> AsyncIterator[Finding]:
        stored = set(await self._ctx.facens.ids(owner, gallery)) if len(suspects) else set()
        for face_id in map(int, suspects):
            # A concurrent addition or removal has finished once the lock is taken.
            async with self._ctx.faces.locks.get(face_id):
                this = {"_id": face_id, "owner": owner, "gallery": gallery}
                listed = await self._faces.find_one(this, {"_id": 1}) is not None
            if face_id in stored and not listed:
                done = await self._repair(face_id, "removed the entry")
                yield Finding(FindingKind.NO_FACE, f"face {face_id}", f"gallery {gallery}", done)

    async def _repair(self, face_id: int, what: str) -> str:
        if not (self._scope.repair or self._scope.repair_facens):
            return ""
        await self._change_stream.sync_face(face_id)
        return what
