"""Recomputes stored facens with another model pack, from the stored pictures of aligned faces.

During the run the database records the old and the new pack, so that no other process opens it. Each face
records the pack of its facen, so that an interrupted run can continue.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pymongo import UpdateOne

from pipeline.faces.alignment import ALIGNED_SIZE
from pipeline.faces.embedder import Embedder
from pipeline.faces.facen import encode
from pipeline.types import Picture
from store.errors import ImageError, StoreError
from store.facens.pack import set_pack, stored_pack
from store.mongo.client import Database, Document
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.uploads.face_pictures import LOCATIONS, pictures_of
from store.uploads.image import decode
from store.uploads.locations import USES
from store.uploads.storage import Uploads

BATCH = 16
FIELDS = {"normalized": 1, "detector_info": 1, "owner": 1, LOCATIONS: 1}


@dataclass(frozen=True, slots=True)
class Reembedded:
    done: int
    without_picture: int
    """Faces without a picture. They are removed from their galleries, because they cannot be compared."""


class Reembedding:
    """Recomputes every facen of a database. No other process may use it meanwhile."""

    def __init__(self, database: Database, uploads: Uploads, embedder: Embedder, pack: str) -> None:
        self._database = database
        self._faces = database["faces"]
        self._uploads = uploads
        self._embedder = embedder
        self._pack = pack
        self._remaining = {
            "facen": {"$type": "string"},
            "detector_info.pack": {"$ne": pack},
            "left_out_by": {"$ne": pack},
        }

    async def left(self) -> int:
        """Number of remaining faces."""
        try:
            return int(await self._faces.count_documents(self._remaining))
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.count") from error

    async def run(
        self, on_progress: Callable[[int], object] = lambda _: None, *, force: bool = False
    ) -> Reembedded:
        """Recompute all facens whose pictures are at this location.

        Args:
            on_progress: called with the number of faces processed since the previous call.
            force: remove faces whose pictures are elsewhere from their galleries, instead of failing.

        Raises:
            StoreError: MongoDB or the uploads cannot be reached, or pictures are at another location; the
                next run continues.
        """
        stored = await stored_pack(self._database)
        old, size = (stored.name, stored.size) if stored else (self._pack, self._embedder.size)
        await set_pack(self._database, old, size, becoming=self._pack)
        done = without = waiting = 0
        last = -1
        try:
            while faces := await self._batch(last):
                last = faces[-1]["_id"]
                elsewhere = set() if force else await self._elsewhere(faces)
                here = [face for face in faces if face["_id"] not in elsewhere]
                renewed, lost = await self._renew(here, old) if here else (0, 0)
                done, without, waiting = done + renewed, without + lost, waiting + len(elsewhere)
                on_progress(len(faces))
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.re-embed") from error
        if waiting:
            raise StoreError(
                f"facens recomputed: {done}; faces with pictures at another location: {waiting}; run "
                "`facend facens re-embed` on the box that stored them, or mount its disk; `--force` leaves "
                "them out of their galleries"
            )
        await set_pack(self._database, self._pack, self._embedder.size)
        return Reembedded(done, without)

    async def _batch(self, last: int) -> list[Document]:
        query = {**self._remaining, "_id": {"$gt": last}}
        found: list[Document] = (
            await self._faces.find(query, FIELDS).sort("_id", 1).limit(BATCH).to_list(None)
        )
        return found

    async def _elsewhere(self, faces: Sequence[Document]) -> set[int]:
        """The faces whose aligned picture is, or may be, at another location.

        It may be if no location is recorded, the picture is missing here, and other locations are in use.
        """
        here = await self._uploads.location()
        others = await self._database[USES].find_one({"location": {"$ne": here}}) is not None
        pictures = {face["_id"]: pictures_of(self._uploads, face, ["normalized"]) for face in faces}
        unknown = [one.key for found in pictures.values() for one in found if one.location is None and others]
        missing = set(await self._uploads.missing(unknown))
        return {
            face_id
            for face_id, found in pictures.items()
            for one in found
            if (one.location != here if one.location is not None else one.key in missing)
        }

    async def _renew(self, faces: Sequence[Document], old: str) -> tuple[int, int]:
        pictures = {face["_id"]: await self._picture(face) for face in faces}
        cuts = {face_id: picture for face_id, picture in pictures.items() if picture is not None}
        vectors = await asyncio.to_thread(self._embedder.embed, list(cuts.values()))
        facens = {face_id: vector for face_id, vector in zip(cuts, vectors, strict=True) if vector.any()}
        changes = []
        for face in faces:
            details = face.get("detector_info")
            info: Document = details if isinstance(details, dict) else {}
            facen = facens.get(face["_id"])
            if facen is None:
                new = {"gallery": [], "left_out_by": self._pack, "detector_info": {"pack": old, **info}}
            else:
                new = {"facen": encode(facen), "detector_info": {**info, "pack": self._pack}}
            changes.append(UpdateOne({"_id": face["_id"]}, {"$set": new}))
        await self._faces.bulk_write(changes, ordered=False)
        return len(facens), len(faces) - len(facens)

    async def _picture(self, face: Document) -> Picture | None:
        """The aligned face; None if it is missing or unusable."""
        found = pictures_of(self._uploads, face, ["normalized"])
        data = await self._uploads.get(found[0].key) if found else None
        if data is None:
            return None
        try:
            picture = await asyncio.to_thread(decode, data)
        except ImageError:
            return None
        return picture if picture.shape[:2] == (ALIGNED_SIZE, ALIGNED_SIZE) else None
