"""The model pack of the stored facens.

Facens of different models must never be compared, and their values do not identify the model. So the database
records the pack of its facens, and is not opened with another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from store.errors import PackError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import malformed

COLLECTION = "facens"
ID = "pack"


@dataclass(frozen=True, slots=True)
class StoredPack:
    database: str
    """A unique id of the database."""
    name: str
    size: int
    """Size of a facen."""
    becoming: str | None = None
    """The pack for which the facens are being recomputed."""


async def stored_pack(database: Database) -> StoredPack | None:
    """The recorded pack, or None."""
    try:
        document = await database[COLLECTION].find_one({"_id": ID})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "facens.pack") from error
    return _read(document) if document else None


async def claim_pack(database: Database, name: str, size: int) -> StoredPack:
    """Record this pack unless one is recorded. PackError if the stored facens are of another pack."""
    record = {"database": str(ObjectId()), "name": name, "size": size}
    try:
        if await database[COLLECTION].find_one({"_id": ID}) is None:
            # The database may be older, or the record damaged; but each face names its pack.
            foreign = {"detector_info.pack": {"$type": "string", "$ne": name}}
            face = await database["faces"].find_one(foreign, {"detector_info.pack": 1})
            if face is not None:
                record["name"] = face["detector_info"]["pack"]
            await database[COLLECTION].delete_one({"_id": ID, **malformed(COLLECTION)})
        document = await database[COLLECTION].find_one_and_update(
            {"_id": ID}, {"$setOnInsert": record}, upsert=True, return_document=ReturnDocument.AFTER
        )
        stored = _read(document)
        other = (stored.name, stored.size) != (name, size)
        if other and stored.becoming is None and not await _any_facen(database):
            await set_pack(database, name, size)
            return StoredPack(stored.database, name, size)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "facens.pack") from error
    return _checked(stored, name, size)


async def known_pack(database: Database, name: str, size: int) -> StoredPack | None:
    """As `claim_pack`, read-only: None if no pack is recorded, or the recorded one has no facens."""
    stored = await stored_pack(database)
    if stored is None:
        return None
    if (stored.name, stored.size) != (name, size) and stored.becoming is None:
        try:
            if not await _any_facen(database):
                return None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "facens.pack") from error
    return _checked(stored, name, size)


def _checked(stored: StoredPack, name: str, size: int) -> StoredPack:
    if stored.becoming is not None:
        raise PackError(
            f"the stored facens are being recomputed, from the pack {stored.name} to {stored.becoming}: "
            f"set models.pack to {stored.becoming} and complete `facend facens re-embed`"
        )
    if (stored.name, stored.size) != (name, size):
        raise PackError(
            f"the stored facens are of the model pack {stored.name}, not of {name}: "
            f"set models.pack to {stored.name}, or recompute them with `facend facens re-embed`"
        )
    return stored


async def set_pack(database: Database, name: str, size: int, becoming: str | None = None) -> None:
    """Record the pack of the facens, and the one for which they are being recomputed."""
    try:
        await database[COLLECTION].update_one(
            {"_id": ID},
            {
                "$set": {"name": name, "size": size, "becoming": becoming},
                "$setOnInsert": {"database": str(ObjectId())},
            },
            upsert=True,
        )
    except DRIVER_ERRORS as error:
        raise translate_error(error, "facens.pack") from error


def pack_of(face: Mapping[str, Any]) -> str | None:
    """The pack named in a face's document, or None."""
    details = face.get("detector_info")
    name = details.get("pack") if isinstance(details, dict) else None
    return name if isinstance(name, str) else None


async def _any_facen(database: Database) -> bool:
    return await database["faces"].find_one({"facen": {"$type": "string"}}, {"_id": 1}) is not None


def _read(document: dict[str, Any]) -> StoredPack:
    return StoredPack(document["database"], document["name"], document["size"], document.get("becoming"))
