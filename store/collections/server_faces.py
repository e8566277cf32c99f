"""The collection of faces with their pictures in the uploads: photo, aligned face and thumbnail."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from types import MethodType
from typing import Any

from pipeline.limits import MAX_PIXELS
from store.collections.faces import CoreFaces
from store.collections.galleries import Galleries
from store.collections.users import Users
from store.errors import BadValueError, ImageError, UploadError
from store.face import Face
from store.face_fields import checked_bbox
from store.facens.storage import FacenStorage
from store.mongo.client import Database
from store.observer import StoreObserver
from store.uploads.external import AllowedHosts, put, same_server
from store.uploads.face_pictures import (
    EXTRACTED,
    LOCATIONS,
    PICTURES,
    AnyFace,
    id_of,
    is_extraction_face,
    location_of,
    new_keys,
    new_keys_below,
    pictures_of,
    png_of,
    set_urls,
    urls_of,
)
from store.uploads.image import Image
from store.uploads.keys import key_of_owner
from store.uploads.locations import Locations
from store.uploads.storage import Uploads

PNG = b"\x89PNG"


class _ContextMethod(classmethod):  # type: ignore[type-arg]  # classmethod is not generic at run time
    """A class method that receives the instance if it is called on one."""

    def __get__(self, instance: object, owner: type | None = None, /) -> Callable[..., str]:
        return MethodType(self.__func__, owner if instance is None else instance)


class ServerFaces(CoreFaces):
    """The faces, and their pictures in the uploads.

    A face gets its pictures' URLs (`photo`, `normalized`, `thumbnail`) and the ids of their locations
    (`picture_locations`) when it is added; `upload` stores the pictures there, and may be repeated.
    """

    protected = CoreFaces.protected | {LOCATIONS}

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
        thumbnail_hosts: Sequence[str] = (),
        locations: Locations | None = None,
    ) -> None:
        """
        Args:
            max_pixels: maximum size of pictures that were created without a limit.
            thumbnail_hosts: hosts outside the uploads to which `upload_thumbnail` may send; see
                `AllowedHosts.parse`.
        """
        super().__init__(database, users, galleries, facens, observer, facen_size)
        self._uploads = uploads
        self._locations = locations or Locations(database, uploads)
        self.max_pixels = max_pixels
        self._thumbnail_hosts = AllowedHosts.parse(thumbnail_hosts)

    @_ContextMethod
    def gen_ffupload_key(cls: Any, face: AnyFace, suffix: str = ".jpeg") -> str:  # noqa: N805  see above
        """Set new URLs of the face's pictures, and return a new key.

        Sets `photo`, `normalized` and `thumbnail` of the face object or dictionary to URLs in the uploads,
        which `upload` then uses. The key is `<owner>/<YYYYMMDD>/<face id>_<12 hex><suffix>`, with the day in
        UTC. For the suffix of a picture (`_photo.jpeg`, `_norm.png`, `_thumb.jpeg`) it is that picture's key.

        Called on the class, which has no uploads, it only returns a key.

        Raises:
            BadValueError: the face has no owner or id.
        """
        suffixes = [*PICTURES.values(), suffix]
        keys = dict(zip(reversed(suffixes), reversed(new_keys(face, suffixes)), strict=True))
        if isinstance(cls, ServerFaces):
            face.pop(LOCATIONS, None)
            set_urls(face, {field: cls._uploads.url_of(keys[end]) for field, end in PICTURES.items()})
        return keys[suffix]

    def regenerate_id(self, face: Face) -> Awaitable[None]:
        """Replace the face's id with a new one, and the URLs of its pictures, which contain the id.

        A face without an owner gets no URLs. URLs outside the uploads are kept.
        """
        done = super().regenerate_id(face)
        if face.get("owner") is not None:
            fields = [field for field in PICTURES if not self._is_foreign(face.urls.get(field))]
            face.link(self._new_urls(face, fields))
            face.pop(LOCATIONS, None)
            if (here := self._locations.latest) is not None:  # otherwise `upload` records it
                face[LOCATIONS] = dict.fromkeys(fields, here)
        return done

    async def upload(self, face: AnyFace, img: Image) -> None:
        """Upload the original picture, the aligned face and the thumbnail to the face's URLs.

        A field without a URL in the uploads first gets one, in the face and in its document. Existing
        pictures are replaced. Afterwards the face's `normalized` is the URL.

        Pictures of an ExtractionFace, which has no owner and id, are temporary and removed after a day. A
        dictionary with an owner and an `_id` stands for the stored face with that id.

        Args:
            face: a stored face, its data as a dictionary, or an ExtractionFace; `normalized` is PNG bytes.
            img: the picture in which the face was found.

        Raises:
            AuthenticationError: the face's owner is unknown or inactive.
            BadValueError: the face has no bbox or aligned face, or an owner but no id.
            ImageError: `img` is not a picture, has too many pixels, or the bbox lies outside it.
            UploadError: a picture cannot be stored at present; a second call completes the upload.
        """
        await self._check(face, img)
        png = png_of(face)
        if png is None or not png.startswith(PNG):
            raise BadValueError("the face has no aligned face; set its normalized to PNG bytes")
        thumbnail = await asyncio.to_thread(img.thumbnail, checked_bbox(face.get("bbox")))
        photo = await asyncio.to_thread(lambda: img.encoded)
        await self._link(face, *PICTURES)
        urls = urls_of(face)
        await self._put(self._key(face, urls["photo"]), photo, img.content_type)
        await self._put(self._key(face, urls["normalized"]), png, "image/png")
        await self._put(self._key(face, urls["thumbnail"]), thumbnail, "image/jpeg")
        if isinstance(face, Face):
            face.mark_uploaded()
        else:
            set_urls(face, {"normalized": urls["normalized"]})

    async def upload_thumbnail(self, face: AnyFace, img: Image, url: str | None = None) -> None:
        """Upload the part of the picture inside the face's bbox, as a JPEG of quality 90.

        Args:
            url: a URL of the owner in the uploads, or an http or https URL of an allowed host, to which the
                thumbnail is sent by PUT. Default: the face's own URL, which is created if it has none.

        Raises as `upload`; BadValueError also if the URL belongs to another user or its host is not allowed.
        """
        await self._check(face, img)
        outside = url is not None and self._is_outside(url)
        if url is not None and not outside:
            self._key(face, url)
        thumbnail = await asyncio.to_thread(img.thumbnail, checked_bbox(face.get("bbox")))
        if url is not None and outside:
            await put(self._thumbnail_hosts, url, thumbnail, "image/jpeg")
            return
        if url is None:
            await self._link(face, "thumbnail")
        await self._put(
            self._key(face, urls_of(face)["thumbnail"] if url is None else url), thumbnail, "image/jpeg"
        )

    async def _check(self, face: AnyFace, img: Image) -> None:
        if not isinstance(face, MutableMapping):
            raise BadValueError(f"a face is a mapping of its fields, not {type(face).__name__}")
        if not isinstance(img, Image):
            raise ImageError(f"a picture is a store.Image, not {type(img).__name__}")
        img.limit_pixels(self.max_pixels)
        if not is_extraction_face(face):
            new_keys(face, [""])  # raises if it has no owner or id
            await self._users.owner(face["owner"])

    async def missing(self, face: Face) -> list[str]:
        """The fields of lost pictures. Pictures at another location count as present."""
        here = await self._uploads.location()
        own = {one.key: one for one in pictures_of(self._uploads, face) if one.location in (None, here)}
        return [own[key].field for key in await self._uploads.missing(list(own))]

    async def _link(self, face: AnyFace, *fields: str) -> None:
        """Give these fields URLs at this box's location, first in the document, so that no picture is
        orphaned.

        URLs at this location are kept, or updated if its address changed. Pictures at another location are
        left to the box that stored them.
        """
        if is_extraction_face(face):
            urls = urls_of(face)
            known = {field for field in fields if key_of_owner(self._uploads, EXTRACTED, urls.get(field))}
            set_urls(face, self._new_urls(face, [field for field in fields if field not in known]))
            return
        here = await self._locations.claim(face["owner"])
        new = self._urls_at(face, fields, here)
        urls = {**urls_of(face), **new}
        if isinstance(face, Face):
            changes: dict[str, str] = urls if face.has_new_links else dict(new)
        else:  # the document may have other URLs
            changes = {field: str(urls[field]) for field in fields}
        changes |= {f"{LOCATIONS}.{field}": here for field in fields if location_of(face, field) != here}
        if changes:
            owner = await self._users.owner(face["owner"])
            async with self._operation("update_one"):
                this = {"_id": id_of(face), "owner": owner}
                await self._collection.update_one(this, {"$set": changes})
        recorded = face.get(LOCATIONS)
        face[LOCATIONS] = {
            **(recorded if isinstance(recorded, Mapping) else {}),
            **dict.fromkeys(fields, here),
        }
        if isinstance(face, Face):
            face.link(new)
            face.has_new_links = False
        else:
            set_urls(face, new)

    def _urls_at(self, face: AnyFace, fields: Sequence[str], here: str) -> dict[str, str]:
        """New URLs of those fields whose URL is not at this location."""
        known = {one.field: one for one in pictures_of(self._uploads, face)}
        elsewhere = [one for one in fields if one not in known or known[one].location not in (None, here)]
        moved = {one: self._uploads.url_of(known[one].key) for one in fields if one not in elsewhere}
        return {
            **self._new_urls(face, elsewhere),
            **{field: url for field, url in moved.items() if url != known[field].url},
        }

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
        suffixes = [PICTURES[field] for field in fields]
        if is_extraction_face(face):
            keys = new_keys_below(EXTRACTED, self._ids.next(), suffixes)
        else:
            keys = new_keys(face, suffixes)
        return {field: self._uploads.url_of(key) for field, key in zip(fields, keys, strict=True)}

    def _key(self, face: Mapping[str, Any], url: str) -> str:
        """The key of a URL of the face's owner. BadValueError for any other URL."""
        owner = EXTRACTED if is_extraction_face(face) else face["owner"]
        key = key_of_owner(self._uploads, owner, url)
        if key is None:
            raise BadValueError(f"{url!r:.200} is not a URL of these uploads, or belongs to another user")
        return key

    def _is_outside(self, url: object) -> bool:
        """Whether a URL names another server than that of the uploads."""
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return False
        return not same_server(url, self._uploads.url_of("x"))

    def _is_foreign(self, url: object) -> bool:
        """Whether this is a URL, but of no picture in the uploads."""
        return isinstance(url, str) and self._uploads.key_of(url) is None
