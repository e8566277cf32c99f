"""The place of each picture, the boxes that use a place, and pictures that another box has to remove.

Several boxes may share a MongoDB, a user or a place for pictures. A stored face records the id of the place
of each of its pictures (`picture_locations`), so that a box distinguishes a lost picture from one at another
place or on a disk that is not mounted. Faces of earlier versions have no such record.
"""

import asyncio
import hashlib
import secrets
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from pipeline.base.files import make_folder, write_durably
from store.errors import UploadError
from store.face import Face
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.uploads.keys import stored_key
from store.uploads.storage import Uploads

PICTURES = {"photo": "_photo.jpeg", "normalized": "_norm.png", "thumbnail": "_thumb.jpeg"}
"""A face's fields with URLs of its pictures, and the suffixes of their keys."""
LOCATIONS = "picture_locations"
"""The face's field with the id of the place of each picture, by the picture's field."""
USES = "upload_locations"
"""The collection of the places for pictures and the boxes and users that put some there."""
REMOVALS = "picture_removals"
"""The collection of pictures that wait for the box that can reach them to remove them."""

RECENT = timedelta(days=30)
"""A box that has not used a place for this long no longer counts as its user."""
REFRESH_SECONDS = 3600.0
UNKNOWN_KEPT = timedelta(days=90)
"""How long the removal of a picture at an unknown place is pending."""
MACHINE_ID = Path("/etc/machine-id")
BOX_ID = "box-id"
"""The file in the data folder with the id of the box."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a stored face names."""

    field: str
    url: str
    key: str
    location: str | None
    """The id of its place; None where it is not recorded."""


@dataclass(frozen=True, slots=True)
class Use:
    """One box's use of a place in one user's name."""

    location: str
    box: str
    machine: str
    """Digest of the machine's id and that of the data folder."""
    owner: ObjectId
    address: str
    seen: datetime


@dataclass(frozen=True, slots=True)
class Places:
    """The places for pictures as one box sees them at one moment."""

    here: str | None
    """The id of this box's place; None where it has none at present."""
    mine: frozenset[str]
    """This place, and those that only this box has used, such as a disk that is not mounted."""
    uses: tuple[Use, ...] = field(repr=False)
    shared_with: tuple[str, ...]
    """Other boxes that use the same id: they share the place, or one was cloned from the other."""

    def of_others(self, owners: Iterable[ObjectId], own: Collection[ObjectId] = ()) -> frozenset[ObjectId]:
        """The users whose pictures are all at places of other boxes."""
        elsewhere = {use.owner for use in self.uses if use.location not in self.mine}
        here = {use.owner for use in self.uses if use.location in self.mine}
        return frozenset(owner for owner in owners if owner in elsewhere - here and owner not in own)

    def describe(self, location: str | None) -> str:
        """The place and its boxes, for messages."""
        if location is None:
            return "an unknown place"
        uses = sorted((use for use in self.uses if use.location == location), key=lambda use: use.seen)
        if not uses:
            return f"the place {location}"
        boxes = ", ".join(dict.fromkeys(use.box for use in uses))
        return f"{uses[-1].address} of the box {boxes}, last used {uses[-1].seen:%Y-%m-%d}"


class Locations:
    """The places for pictures in one database, as one box uses them."""

    def __init__(self, database: Database, uploads: Uploads, box: str = "", home: Path | None = None) -> None:
        """`box`: this box's name; that of the machine by default. `home`: its data folder."""
        self._uses = database[USES]
        self._removals = database[REMOVALS]
        self._faces = database["faces"]
        self._uploads = uploads
        self._box = box or socket.gethostname()
        self._home = home
        self._machine = _machine(home)
        self._noted: dict[tuple[str, ObjectId], float] = {}
        self.latest: str | None = None
        """The id of this box's place at the last upload."""

    async def claim(self, owner: ObjectId) -> str:
        """The id of this box's place, created on first use; records the use for this user.

        UploadError where the place cannot be used at present.
        """
        self.latest = location = await self._uploads.claim()
        if self._home is not None and not self._noted:
            await asyncio.to_thread(_make_id, self._home)
            self._machine = _machine(self._home)
        if self._noted.get((location, owner), 0.0) < time.monotonic():
            use = {"location": location, "box": self._box, "machine": self._machine, "owner": owner}
            seen = {**use, "address": self._uploads.address, "seen": datetime.now(UTC)}
            key = f"{location} {self._machine} {self._box} {owner}"
            try:
                await self._uses.update_one({"_id": key}, {"$set": seen}, upsert=True)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "upload_locations.write") from error
            self._noted[location, owner] = time.monotonic() + REFRESH_SECONDS
        return location

    async def forget(self, owner: ObjectId) -> None:
        """Removes the records of a deleted user."""
        try:
            await self._uses.delete_many({"owner": owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "upload_locations.delete") from error

    async def places(self) -> Places:
        """The places as they are now. UploadError where this box's place cannot be reached."""
        here = await self._uploads.location()
        try:
            uses = tuple([_use(document) async for document in self._uses.find({})])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "upload_locations.find") from error
        others = {use.location for use in uses if not self._is_own(use)}
        mine = {use.location for use in uses} - others
        if here is not None:
            mine.add(here)
        newest = datetime.now(UTC) - RECENT
        shared = {
            use.box
            for use in uses
            if use.location == here and not self._is_own(use) and use.seen.astimezone(UTC) >= newest
        }
        return Places(here, frozenset(mine), uses, tuple(sorted(shared)))

    def _is_own(self, use: Use) -> bool:
        return (use.box, use.machine) == (self._box, self._machine)

    async def remove_later(self, face: Mapping[str, Any], pictures: Collection[Picture]) -> None:
        """Notes pictures of a face that this box cannot reach for the box that can."""
        now = datetime.now(UTC)
        notes = []
        for one in pictures:
            note = {"key": one.key, "location": one.location, "at": now}
            note |= {"face": face["_id"], "owner": face["owner"]}
            if one.location is None:
                note["expires"] = now + UNKNOWN_KEPT
            notes.append(UpdateOne({"_id": f"{one.location} {one.key}"}, {"$set": note}, upsert=True))
        if notes:
            try:
                await self._removals.bulk_write(notes, ordered=False)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "picture_removals.write") from error

    async def waiting(self, here: str | None) -> int:
        """Number of noted pictures at this box's place."""
        try:
            return int(await self._removals.count_documents({"location": here})) if here else 0
        except DRIVER_ERRORS as error:
            raise translate_error(error, "picture_removals.count") from error

    async def carry_out(self) -> int:
        """Removes the noted pictures at this box's place; returns their number.

        StoreError where MongoDB or the place cannot be reached; the next call continues.
        """
        places = await self.places()
        if places.here is None:
            return 0
        removed = 0
        try:
            async for note in self._removals.find({"location": {"$in": [places.here, None]}}):
                gone = False
                if not await self._is_named(note):
                    gone = await self._uploads.delete(note["key"])
                    removed += gone
                    if not gone and (note["location"] is None or places.shared_with):
                        continue  # it may be at another box
                await self._removals.delete_one({"_id": note["_id"]})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "picture_removals") from error
        return removed

    async def _is_named(self, note: Mapping[str, Any]) -> bool:
        face = await self._faces.ungated.find_one({"_id": note["face"]})
        return face is not None and note["key"] in {one.key for one in pictures_of(self._uploads, face)}


def location_of(face: Mapping[str, Any], picture: str) -> str | None:
    """The id of the place of one of a face's pictures; None where none is recorded."""
    recorded = face.get(LOCATIONS)
    found = recorded.get(picture) if isinstance(recorded, Mapping) else None
    return found if isinstance(found, str) else None


def pictures_of(
    uploads: Uploads, face: Mapping[str, Any], fields: Collection[str] = tuple(PICTURES)
) -> list[Picture]:
    """The pictures that the face names below its owner's folder, at any place."""
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


def _use(document: Mapping[str, Any]) -> Use:
    return Use(*(document[name] for name in ("location", "box", "machine", "owner", "address", "seen")))


def _machine(home: Path | None) -> str:
    """A digest of machine and data folder; the machine id itself is confidential."""
    parts = []
    for path in (MACHINE_ID, *([home / BOX_ID] if home else [])):
        try:
            parts.append(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _make_id(home: Path) -> None:
    """Creates the id of a data folder, which distinguishes two boxes on one machine."""
    if (home / BOX_ID).exists():
        return
    try:
        make_folder(home)
        write_durably(home / BOX_ID, f"{secrets.token_hex(16)}\n".encode())
    except OSError as error:
        raise UploadError(f"{home / BOX_ID} cannot be written: {error.strerror or error}") from error
