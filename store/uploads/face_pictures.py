"""The pictures of a face: photo, aligned face and thumbnail, with their keys and URLs."""

import secrets
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from store.errors import BadValueError
from store.face import Face
from store.face_mapping import PictureUrl
from store.mongo.guard import checked_id
from store.uploads.keys import stored_key
from store.uploads.storage import Uploads

PICTURES = {"photo": "_photo.jpeg", "normalized": "_norm.png", "thumbnail": "_thumb.jpeg"}
"""A face's fields with URLs of its pictures, and the suffixes of their keys."""
LOCATIONS = "picture_locations"
"""The face's field that maps each picture's field to the id of its location."""
RANDOM_BYTES = 6
"""Random bytes in a picture's key, which make it unguessable."""

EXTRACTED = "extracted"
"""The folder of keys for pictures of faces without an owner."""

AnyFace = MutableMapping[str, Any]
"""A face, a dictionary with its data, or an ExtractionFace."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to which a stored face refers."""

    field: str
    url: str
    key: str
    location: str | None
    """The location's id; None if it is not recorded."""


def location_of(face: Mapping[str, Any], picture: str) -> str | None:
    """The location's id of one of a face's pictures; None if it is not recorded."""
    recorded = face.get(LOCATIONS)
    found = recorded.get(picture) if isinstance(recorded, Mapping) else None
    return found if isinstance(found, str) else None


def pictures_of(
    uploads: Uploads, face: Mapping[str, Any], fields: Collection[str] = tuple(PICTURES)
) -> list[Picture]:
    """The pictures in the owner's folder to which a face refers, at any location."""
    found = []
    for name, url in urls_of(face).items():
        key = stored_key(uploads, face.get("owner"), url) if name in fields else None
        if key is not None:
            found.append(Picture(name, url, key, location_of(face, name)))
    return found


def urls_of(face: Mapping[str, Any]) -> dict[str, str]:
    """The URLs of a face's pictures, by field."""
    if isinstance(face, Face):
        return face.urls
    return {field: url for field in PICTURES if isinstance(url := face.get(field), str)}


def set_urls(face: AnyFace, urls: Mapping[str, str]) -> None:
    """Set URLs in a face. In a dictionary, the URL keeps the PNG bytes that it replaces."""
    if isinstance(face, Face):
        face.update(urls)
        face.has_new_links = True
        return
    for field, url in urls.items():
        face[field] = PictureUrl.with_png(url, png_of(face)) if field == "normalized" else url


def png_of(face: AnyFace) -> bytes | None:
    """The aligned face, if its bytes are known."""
    if isinstance(face, Face):
        return face.normalized
    value = face.get("normalized")
    png = value.png if isinstance(value, PictureUrl) else value
    return png if isinstance(png, bytes) else None


def id_of(face: Mapping[str, Any]) -> object:
    """The id of a face, under either name of the key."""
    return face["_id"] if face.get("_id") is not None else face.get("id")


def is_extraction_face(face: Mapping[str, Any]) -> bool:
    """Whether this is an ExtractionFace: a dictionary without owner and id."""
    return not isinstance(face, Face) and face.get("owner") is None and id_of(face) is None


def new_keys(face: object, suffixes: Sequence[str]) -> list[str]:
    """New keys of a face, one for each suffix. BadValueError without owner or id."""
    owner = face.get("owner") if isinstance(face, Mapping) else None
    if not isinstance(face, Mapping) or not isinstance(owner, ObjectId) or id_of(face) is None:
        raise BadValueError("a picture's key needs the face's owner and _id; store it with Faces.add first")
    return new_keys_below(str(owner), checked_id(id_of(face), "face"), suffixes)


def new_keys_below(folder: str, face_id: int, suffixes: Sequence[str]) -> list[str]:
    """New keys of a face's pictures in today's folder below `folder`, one for each suffix."""
    start = f"{folder}/{datetime.now(UTC):%Y%m%d}/{face_id:d}_"
    random = secrets.token_hex(RANDOM_BYTES * len(suffixes))
    parts = (random[at : at + 2 * RANDOM_BYTES] for at in range(0, len(random), 2 * RANDOM_BYTES))
    return [f"{start}{part}{suffix}" for part, suffix in zip(parts, suffixes, strict=True)]
