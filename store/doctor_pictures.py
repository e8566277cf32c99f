"""Whether every picture that a face names is there, and every picture that is there has a face."""

from collections.abc import AsyncIterator
from typing import Any

from bson import ObjectId

from pipeline.limits import MAX_PIXELS
from store.context import Context
from store.errors import BadValueError
from store.face import Face
from store.findings import Finding, Kind, Scope
from store.image import Image
from store.removal import face_of_key
from store.server_faces import PICTURES
from store.uploads import key_of_owner

BATCH = 500


class PicturesCheck:
    """Compares the documents with the uploads, a batch of faces or a day of pictures at a time."""

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._faces = ctx.database["faces"]

    async def run(self) -> AsyncIterator[Finding]:
        for owner in sorted(self._scope.users):
            async for finding in self._missing(owner):
                yield finding
            for day in await self._ctx.uploads.list_folders(str(owner)):
                async for finding in self._orphaned(owner, f"{owner}/{day}"):
                    yield finding

    async def _missing(self, owner: ObjectId) -> AsyncIterator[Finding]:
        last = -1
        fields = dict.fromkeys(PICTURES, 1)
        while True:
            query = {"owner": owner, "_id": {"$gt": last}}
            batch: list[dict[str, Any]] = (
                await self._faces.find(query, fields).sort("_id", 1).limit(BATCH).to_list(BATCH)
            )
            if not batch:
                return
            last = batch[-1]["_id"]
            named = {
                face[field]: (face["_id"], field)
                for face in batch
                if not self._scope.is_young(face["_id"])
                for field in PICTURES
                if isinstance(face.get(field), str)
            }
            for url in await self._ctx.uploads.missing(list(named)):
                if (found := await self._one_missing(owner, *named[url], url)) is not None:
                    yield found

    async def _one_missing(self, owner: ObjectId, face_id: int, field: str, url: str) -> Finding | None:
        this = {"_id": face_id, "owner": owner, field: url}
        document = await self._faces.find_one(this)
        if document is None or not await self._ctx.uploads.missing([url]):
            return None
        subject, detail = f"face {face_id}", f"{field} {url}"
        if not self._scope.repair:
            return Finding(Kind.MISSING_PICTURE, subject, detail)
        if field == "thumbnail" and await self._cut_again(Face(document)):
            return Finding(Kind.MISSING_PICTURE, subject, detail, "cut it from the photo again")
        await self._faces.update_one(this, {"$unset": {field: ""}})
        return Finding(Kind.MISSING_PICTURE, subject, detail, "the face does not name it any more")

    async def _cut_again(self, face: Face) -> bool:
        key = key_of_owner(self._ctx.uploads, face["owner"], face.get("photo"))
        data = None if key is None else await self._ctx.uploads.get(key)
        if data is None:
            return False
        try:
            await self._ctx.faces.upload_thumbnail(face, Image(data, MAX_PIXELS))  # a photo of ours
        except BadValueError:  # the photo is damaged, or the box lies outside it
            return False
        return True

    async def _orphaned(self, owner: ObjectId, folder: str) -> AsyncIterator[Finding]:
        keys: dict[str, int] = {}
        async for key in self._ctx.uploads.list_keys(folder):
            face_id = face_of_key(key)
            if face_id is not None and not self._scope.is_young(face_id):
                keys[key] = face_id
            if len(keys) >= BATCH:
                async for finding in self._unnamed(owner, keys):
                    yield finding
                keys = {}
        async for finding in self._unnamed(owner, keys):
            yield finding

    async def _unnamed(self, owner: ObjectId, keys: dict[str, int]) -> AsyncIterator[Finding]:
        query = {"owner": owner, "_id": {"$in": sorted(set(keys.values()))}}
        named: set[object] = set()
        # A malformed face keeps its pictures.
        async for face in self._faces.ungated.find(query, dict.fromkeys(PICTURES, 1)):
            named.update(url for field in PICTURES if isinstance(url := face.get(field), str))
        for key, face_id in keys.items():
            if self._ctx.uploads.url_of(key) in named:
                continue
            done = ""
            if self._scope.repair:
                done = "removed it" if await self._ctx.uploads.delete(key) else ""
            elif await self._ctx.uploads.missing([key]):
                continue  # it went with its face, in this moment
            yield Finding(Kind.ORPHANED_PICTURE, f"face {face_id}", key, done)
