"""Removes faces: from the galleries, from MongoDB, then their pictures.

After the first step searches no longer find the face. A crash in between leaves a face in no gallery, or
orphaned pictures; retention and `facend doctor` find both. Pictures that this box cannot reach are recorded
for a box that can (`store.uploads.locations`).
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from bson import ObjectId

from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError
from store.face import Face
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.uploads.face_pictures import LOCATIONS, PICTURES, Picture, pictures_of
from store.uploads.locations import KnownLocations

BATCH = 200
PICTURE = re.compile(r"(\d{1,19})_[0-9a-f]{12}_[a-z]+\.[a-z]+")
"""File name in a key of `ServerFaces.gen_ffupload_key`, which begins with the face's id."""


class FaceRemoval:
    """Removes faces of one user, and their pictures."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self.left_to_others: Counter[str | None] = Counter()
        """Number of pictures recorded for another box, by the id of their location."""

    async def remove(self, face: Face) -> tuple[bool, int]:
        """Removes a face everywhere. Returns whether it still existed, and the number of removed pictures."""
        try:
            if face.galleries:
                await self._ctx.faces.del_from_galleries(face, face.galleries)
        except NotFoundError:  # removed meanwhile
            pass
        pictures = self._pictures(face, tuple(PICTURES))
        here = await self._ctx.uploads.location()
        # Before the document, because after a crash nothing else refers to the pictures.
        await self._leave_to_others(face, [one for one in pictures if one.location not in (None, here)])
        removed = await self._ctx.faces.remove_one(self._user, {"_id": face["_id"]})
        return removed is not None, await self._delete(face, pictures, here)

    async def strip(
        self, face: Face, fields: tuple[str, ...] = tuple(PICTURES), *, everywhere: bool = False
    ) -> int:
        """Remove pictures of a face that stays; returns the number at this box's location.

        The pictures go first, then their URLs, so that the next run finds them after a crash.

        Args:
            everywhere: also record pictures at other locations for removal, and remove their URLs.
        """
        here = await self._ctx.uploads.location()
        pictures = self._pictures(face, fields)
        deleted = [one for one in pictures if one.location is not None and one.location == here]
        removed = sum([await self._ctx.uploads.delete(one.key) for one in deleted])
        for one in pictures:
            if one.location is None and await self._ctx.uploads.delete(one.key):
                deleted.append(one)
                removed += 1
        if everywhere and (rest := [one for one in pictures if one not in deleted]):
            await self._leave_to_others(face, rest)
            deleted += rest
        if deleted:
            urls = {one.field: "" for one in deleted}
            await self._ctx.faces.update_one(self._user, {"_id": face["_id"]}, {"$unset": urls})
        return removed

    async def remove_malformed(self, document: Mapping[str, Any]) -> int:
        """Remove a malformed face document, its facens and its pictures; returns the number of pictures.

        Pictures that another document also names are kept.
        """
        face_id, owner = document["_id"], document["owner"]
        pictures = [
            one
            for one in pictures_of(self._ctx.uploads, document)
            if not await self._is_shared(document, one)
        ]
        here = await self._ctx.uploads.location()
        await self._leave_to_others(document, [one for one in pictures if one.location not in (None, here)])
        if isinstance(face_id, int):
            for _, gallery in await self._ctx.facens.galleries(owner):
                await self._ctx.facens.remove(owner, gallery, face_id)
        try:
            await self._ctx.database["faces"].ungated.delete_one({"_id": face_id, "owner": owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.delete_one") from error
        return await self._delete(document, pictures, here)

    async def _is_shared(self, document: Mapping[str, Any], picture: Picture) -> bool:
        named = {"$or": [{field: picture.url} for field in PICTURES]}
        query = {"_id": {"$ne": document["_id"]}, "owner": document["owner"], **named}
        try:
            return await self._ctx.database["faces"].ungated.find_one(query, {"_id": 1}) is not None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find_one") from error

    async def _delete(self, face: Mapping[str, Any], pictures: list[Picture], here: str | None) -> int:
        """Delete pictures at this box's location, and those at an unknown location that are found here."""
        removed, lost = 0, []
        for one in pictures:
            if one.location in (None, here):
                gone = await self._ctx.uploads.delete(one.key)
                removed += gone
                if not gone and one.location is None:
                    lost.append(one)
        await self._leave_to_others(face, lost)
        return removed

    async def _leave_to_others(self, face: Mapping[str, Any], pictures: list[Picture]) -> None:
        await self._ctx.locations.remove_later(face, pictures)
        self.left_to_others.update(one.location for one in pictures)

    def _pictures(self, face: Face, fields: tuple[str, ...]) -> list[Picture]:
        """The face's pictures, without pictures of other faces to which it refers."""
        found = pictures_of(self._ctx.uploads, face, fields)
        return [one for one in found if face_of_key(one.key) in (None, face["_id"])]

    async def own_faces(self, filters: dict[str, Any], locations: KnownLocations) -> AsyncIterator[Face]:
        """As `faces`, limited to the faces of this box.

        A face belongs to the box that stored its pictures. If their locations are not recorded, it belongs to
        this box if it has no picture, or one of them is found here.
        """
        async for face in self.faces({"$and": [filters, at_locations(locations)]}):
            if await self.is_own(face):
                yield face

    async def is_own(self, face: Face) -> bool:
        """Whether a face that passes `at_locations` belongs to this box."""
        if isinstance(face.get(LOCATIONS), dict):
            return True
        keys = [one.key for one in self._pictures(face, tuple(PICTURES))]
        return not keys or len(await self._ctx.uploads.missing(keys)) < len(keys)

    async def faces(self, filters: dict[str, Any]) -> AsyncIterator[Face]:
        """The faces that pass the filters, in the order of their ids, read in batches."""
        last = -1
        while faces := await self._ctx.faces.find(
            self._user, {**filters, "_id": {"$gt": last}}, sort=[("_id", 1)], limit=BATCH
        ):
            for face in faces:
                yield face
            last = faces[-1]["_id"]


def at_locations(locations: KnownLocations) -> dict[str, Any]:
    """A filter for faces with pictures at this box's locations, or whose locations are not recorded."""
    mine = {"$in": sorted(locations.mine)}
    return {"$or": [*({f"{LOCATIONS}.{field}": mine} for field in PICTURES), {LOCATIONS: {"$exists": False}}]}


async def has_faces(ctx: Context, owner: ObjectId, person_id: int) -> bool:
    """Whether the person has a face, malformed ones included."""
    query = {"owner": owner, "person_id": person_id}
    try:
        return await ctx.database["faces"].ungated.find_one(query, {"_id": 1}) is not None
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.find_one") from error


def face_of_key(key: str) -> int | None:
    """The id of the face whose picture has this key; None for foreign keys."""
    found = PICTURE.fullmatch(key.rsplit("/", 1)[-1])
    return int(found[1]) if found else None
