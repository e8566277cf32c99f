"""Faces with pictures: the photo, the aligned face and the thumbnail go to the uploads."""

import asyncio
import secrets
import time
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from pipeline.limits import MAX_PIXELS
from store.client import Database
from store.errors import BadValueError, ImageError, UploadError
from store.face import Face, checked_bbox
from store.facens.storage import FacenStorage
from store.faces import Faces
from store.galleries import Galleries
from store.guard import checked_id
from store.image import Image
from store.observer import StoreObserver
from store.uploads import Uploads, key_of_owner
from store.users import Users

PICTURES = {"photo": "_photo.jpeg", "normalized": "_norm.png", "thumbnail": "_thumb.jpeg"}
"""A face's fields that hold URLs of its pictures, and how the keys of these end."""

PNG = b"\x89PNG"
CHANCE_BYTES = 6
"""So much of a picture's name cannot be guessed."""

AnyFace = MutableMapping[str, Any]
"""A face, or its data as a dictionary."""


class ServerFaces(Faces):
    """The faces, and their pictures in the uploads.

    A stored face names its pictures' URLs from the moment it is added (`photo`, `normalized`,
    `thumbnail`); `upload` puts the pictures there, as often as it is called.
    """

    def __init__(
        self,
        database: Database,
        users: Users,
        galleries: Galleries,
        facens: FacenStorage,
        uploads: Uploads,
        observer: StoreObserver | None = None,
        facen_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """`max_pixels`: larger pictures are refused, unless they were made with a limit of their own."""
        super().__init__(database, users, galleries, facens, observer, facen_size)
        self._uploads = uploads
        self.max_pixels = max_pixels

    @classmethod
    def gen_ffupload_key(cls, face: Mapping[str, Any], suffix: str = ".jpeg") -> str:
        """A new key for a picture of the face: `<owner>/<YYYYMMDD>/<face id>_<12 hex><suffix>`, today in UTC.

        Only returns the key; every call gives another one. BadValueError for a face without owner or id.
        """
        (key,) = _keys(face, [suffix])
        return key

    async def regenerate_id(self, face: Face) -> None:
        """Replaces the face's id with a new one, and with it the URLs of its pictures, which contain the id.

        A face that belongs to nobody yet gets no URLs; URLs that lead elsewhere stay as they are.
        """
        await super().regenerate_id(face)
        if face.get("owner") is not None:
            fields = [field for field in PICTURES if not self._leads_elsewhere(face.urls.get(field))]
            face.link(self._new_urls(face, fields))

    async def upload(self, face: AnyFace, img: Image) -> None:
        """Uploads the original picture, the aligned face and the thumbnail to the face's URLs.

        A field without a URL of ours gets one first, in the face and in its document. Pictures that are there
        already are replaced.

        Args:
            face: a stored face, or its data with `owner` and `_id`; its `normalized` is PNG bytes.
            img: the picture in which the face was found.

        Raises:
            AuthenticationError: the face's owner is unknown or inactive.
            BadValueError: the face has no owner, id, bbox or aligned face.
            ImageError: `img` is no picture, has too many pixels, or the bbox lies outside it.
            UploadError: a picture cannot be stored at present; calling this again completes the rest.
        """
        await self._check(face, img)
        png = face.normalized if isinstance(face, Face) else face.get("normalized")
        if not isinstance(png, bytes) or not png.startswith(PNG):
            raise BadValueError("the face has no aligned face; set its normalized to PNG bytes")
        thumbnail = await asyncio.to_thread(img.thumbnail, checked_bbox(face.get("bbox")))
        photo = await asyncio.to_thread(lambda: img.encoded)
        await self._link(face, *PICTURES)
        urls = _urls(face)
        await self._put(self._key(face, urls["photo"]), photo, img.content_type)
        await self._put(self._key(face, urls["normalized"]), png, "image/png")
        await self._put(self._key(face, urls["thumbnail"]), thumbnail, "image/jpeg")
        if isinstance(face, Face):
            face.mark_uploaded()

    async def upload_thumbnail(self, face: AnyFace, img: Image, url: str | None = None) -> None:
        """Uploads the part of the picture inside the face's bbox, a JPEG of quality 90.

        Args:
            url: one of the owner's URLs to store it under; None for the face's own, which it gets if it has
                none.

        Raises: as `upload`; BadValueError too where the URL is not one of the owner's uploads.
        """
        await self._check(face, img)
        if url is not None:
            self._key(face, url)
        thumbnail = await asyncio.to_thread(img.thumbnail, checked_bbox(face.get("bbox")))
        if url is None:
            await self._link(face, "thumbnail")
        await self._put(self._key(face, face["thumbnail"] if url is None else url), thumbnail, "image/jpeg")

    async def _check(self, face: AnyFace, img: Image) -> None:
        if not isinstance(face, MutableMapping):
            raise BadValueError(f"a face is a mapping of its fields, not {type(face).__name__}")
        if not isinstance(img, Image):
            raise ImageError(f"a picture is handed over as a store.Image, not {type(img).__name__}")
        img.hold_to(self.max_pixels)
        self.gen_ffupload_key(face)  # says what a face lacks that cannot have pictures
        await self._users.owner(face["owner"])

    async def _link(self, face: AnyFace, *fields: str) -> None:
        """Gives the fields that need them URLs, in the document first: no picture lies there unnamed."""
        urls = _urls(face)
        without = [field for field in fields if self._own_key(face, urls.get(field)) is None]
        if not without:
            return
        new = self._new_urls(face, without)
        await self.update_one(face["owner"], {"_id": face["_id"]}, {"$set": new})
        if isinstance(face, Face):
            face.link(new)
        else:
            face.update(new)

    async def _put(self, key: str, data: bytes, content_type: str) -> None:
        since = time.perf_counter()
        try:
            await self._uploads.put(key, data, content_type)
        except UploadError as error:
            self._observer.error("uploads.put", type(error).__name__)
            raise
        finally:
            self._observer.operation("uploads.put", time.perf_counter() - since)
        self._observer.uploaded(len(data))

    def _new_urls(self, face: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
        keys = _keys(face, [PICTURES[field] for field in fields])
        return {field: self._uploads.url_of(key) for field, key in zip(fields, keys, strict=True)}

    def _key(self, face: Mapping[str, Any], url: str) -> str:
        """The key behind one of the URLs of the face's owner; BadValueError for any other."""
        key = self._own_key(face, url)
        if key is None:
            raise BadValueError(f"{url!r:.200} is no URL of these uploads, or somebody else's")
        return key

    def _own_key(self, face: Mapping[str, Any], url: object) -> str | None:
        return key_of_owner(self._uploads, face["owner"], url)

    def _leads_elsewhere(self, url: object) -> bool:
        return isinstance(url, str) and self._uploads.key_of(url) is None


def _urls(face: AnyFace) -> dict[str, Any]:
    """The URLs of the face's pictures, by field."""
    if isinstance(face, Face):
        return dict(face.urls)
    return {field: face.get(field) for field in PICTURES}


def _keys(face: object, suffixes: Sequence[str]) -> list[str]:
    """A new key for each suffix; together, because chance is asked of the system."""
    owner = face.get("owner") if isinstance(face, Mapping) else None
    if not isinstance(face, Mapping) or not isinstance(owner, ObjectId) or face.get("_id") is None:
        raise BadValueError("a picture's key needs the face's owner and _id; store it with Faces.add first")
    start = f"{owner}/{datetime.now(UTC):%Y%m%d}/{checked_id(face['_id'], 'face'):d}_"
    chance = secrets.token_hex(CHANCE_BYTES * len(suffixes))
    parts = (chance[at : at + 2 * CHANCE_BYTES] for at in range(0, len(chance), 2 * CHANCE_BYTES))
    return [f"{start}{part}{suffix}" for part, suffix in zip(parts, suffixes, strict=True)]
