"""The model pack of the stored facens.

Facens of two models must never be compared, and their numbers do not identify the model. So the database
records the pack of its facens, and opening it with another one is refused.
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
    """An id that no other database has."""
    name: str
    size: int
    """How many numbers a facen has."""
    becoming: str | None = None
    """The pack that the facens are being made anew for."""


async def stored_pack(database: Database) -> StoredPack | None:
    """What the database says; None where nothing was stored for a pack yet."""
    try:
        document = await database[COLLECTION].find_one({"_id": ID})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "facens.pack") from error
    return _read(document) if document else None


async def claim_pack(database: Database, name: str, size: int) -> StoredPack:
    """Makes sure that the stored facens are of this pack. PackError where they are of another one."""
    fresh = {"database": str(ObjectId()), "name": name, "size": size}
    try:
        if await database[COLLECTION].find_one({"_id": ID}) is None:
            # Stored before the database kept book of it, or the note is damaged: the faces say so themselves.
            foreign = {"detector_info.pack": {"$type": "string", "$ne": name}}
            face = await database["faces"].find_one(foreign, {"detector_info.pack": 1})
            if face is not None:
                fresh["name"] = face["detector_info"]["pack"]
            await database[COLLECTION].delete_one({"_id": ID, **malformed(COLLECTION)})
        document = await database[COLLECTION].find_one_and_update(
            {"_id": ID}, {"$setOnInsert": fresh}, upsert=True, return_document=ReturnDocument.AFTER
        )
        held = _read(document)
        other = (held.name, held.size) != (name, size)
        if other and held.becoming is None and not await _any_facen(database):
            await set_pack(database, name, size)
            return StoredPack(held.database, name, size)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "facens.pack") from error
    return _checked(held, name, size)


async def known_pack(database: Database, name: str, size: int) -> StoredPack | None:
    """As `claim_pack`, but changes nothing: None where the database knows no pack, or has no facens of it."""
    held = await stored_pack(database)
    if held is None:
        return None
    if (held.name, held.size) != (name, size) and held.becoming is None:
        try:
            if not await _any_facen(database):
                return None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "facens.pack") from error
    return _checked(held, name, size)


def _checked(held: StoredPack, name: str, size: int) -> StoredPack:
    if held.becoming is not None:
        raise PackError(
            f"the stored facens are being made anew, from the model pack {held.name} to {held.becoming}: "
            f"set models.pack to {held.becoming} and let `facend facens re-embed` come to its end"
        )
    if (held.name, held.size) != (name, size):
        raise PackError(
            f"the stored facens are of the model pack {held.name}, not of {name}: "
            f"set models.pack to {held.name}, or make them anew with `facend facens re-embed`"
        )
    return held


async def set_pack(database: Database, name: str, size: int, becoming: str | None = None) -> None:
    """Records the pack of the facens, and the one that they are being recomputed for."""
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
    """The pack recorded in a face's document; None where there is none."""
    details = face.get("detector_info")
    name = details.get("pack") if isinstance(details, dict) else None
    return name if isinstance(name, str) else None


async def _any_facen(database: Database) -> bool:
    return await database["faces"].find_one({"facen": {"$type": "string"}}, {"_id": 1}) is not None


def _read(document: dict[str, Any]) -> StoredPack:
    return StoredPack(document["database"], document["name"], document["size"], document.get("becoming"))
