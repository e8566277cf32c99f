"""The end of a face: out of the galleries, out of MongoDB, then its pictures.

Nobody finds it any more from the first step on. A crash in between leaves a face in no
gallery, or pictures without a document; retention and `facend doctor` find both.
"""

import re
from collections.abc import AsyncIterator, Collection
from typing import Any

from bson import ObjectId

from store.context import Context
from store.driver_errors import DRIVER_ERRORS, ours
from store.errors import NotFoundError
from store.face import Face
from store.server_faces import PICTURES
from store.uploads import key_of_owner
from store.users import UserArgument

BATCH = 200
PICTURE = re.compile(r"(\d{1,19})_[0-9a-f]{12}_[a-z]+\.[a-z]+")
"""What `ServerFaces.gen_ffupload_key` makes after owner and day; the number is the face's id."""


class FaceRemoval:
    """Removes faces of one user, and their pictures."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user

    async def remove(self, face: Face) -> tuple[bool, int]:
        """Removes a face everywhere. Returns whether it was still there, and how many pictures went."""
        try:
            if face.galleries:
                await self._ctx.faces.del_from_galleries(face, face.galleries)
        except NotFoundError:  # somebody else removed it meanwhile
            pass
        removed = await self._ctx.faces.remove_one(self._user, {"_id": face["_id"]})
        return removed is not None, await self._delete_pictures(face)

    async def strip(self, face: Face, fields: tuple[str, ...] = tuple(PICTURES)) -> int:
        """Removes pictures of a face that stays, and returns how many there were.

        Pictures first, then their URLs: after a crash in between the next run finds them by these.
        """
        removed = await self._delete_pictures(face, fields)
        ours = dict.fromkeys(self._pictures(face, fields), "")
        if ours:
            await self._ctx.faces.update_one(self._user, {"_id": face["_id"]}, {"$unset": ours})
        return removed

    async def _delete_pictures(self, face: Face, fields: tuple[str, ...] = tuple(PICTURES)) -> int:
        keys = self._pictures(face, fields).values()
        return sum([await self._ctx.uploads.delete(key) for key in keys])

    def _pictures(self, face: Face, fields: tuple[str, ...]) -> dict[str, str]:
        """The keys of those pictures that the face's owner has in the uploads, by field."""
        keys = {field: key_of_owner(self._ctx.uploads, face["owner"], face.get(field)) for field in fields}
        return {field: key for field, key in keys.items() if key is not None}

    async def faces(self, filters: dict[str, Any]) -> AsyncIterator[Face]:
        """The faces that pass, one batch after the other, in the order of their ids."""
        last = -1
        while faces := await self._ctx.faces.find(
            self._user, {**filters, "_id": {"$gt": last}}, sort=[("_id", 1)], limit=BATCH
        ):
            for face in faces:
                yield face
            last = faces[-1]["_id"]


async def pictures_named(ctx: Context, owner: ObjectId, faces: Collection[int]) -> set[str]:
    """The URLs of all pictures that these faces name. A malformed face keeps its pictures, too."""
    query = {"owner": owner, "_id": {"$in": sorted(faces)}}
    try:
        found = ctx.database["faces"].ungated.find(query, dict.fromkeys(PICTURES, 1))
        return {url async for face in found for field in PICTURES if isinstance(url := face.get(field), str)}
    except DRIVER_ERRORS as error:
        raise ours(error, "faces.find") from error


async def has_faces(ctx: Context, owner: ObjectId, person_id: int) -> bool:
    """Whether any face is the person's, malformed ones included."""
    query = {"owner": owner, "person_id": person_id}
    try:
        return await ctx.database["faces"].ungated.find_one(query, {"_id": 1}) is not None
    except DRIVER_ERRORS as error:
        raise ours(error, "faces.find_one") from error


def face_of_key(key: str) -> int | None:
    """The id of the face whose picture lies under this key; None where it is none of our keys."""
    found = PICTURE.fullmatch(key.rsplit("/", 1)[-1])
    return int(found[1]) if found else None
