"""Storage locations of pictures, the boxes that use them, and pictures that another box has to remove.

Several boxes may share a MongoDB, a user or a storage location. A stored face records the location's id of
each of its pictures (`picture_locations`). By this record, a box distinguishes a lost picture from one at
another location, or on a disk that is not mounted. Faces of earlier versions lack the record.
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

import structlog
from bson import ObjectId
from pymongo import UpdateOne

from pipeline.base.files import make_folder, read_regular, write_durably
from store.errors import UploadError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.uploads.face_pictures import Picture, pictures_of
from store.uploads.storage import Uploads

log = structlog.get_logger()

USES = "upload_locations"
"""The collection of storage locations, each with the boxes and users that store pictures there."""
REMOVALS = "picture_removals"
"""The collection of pictures to be removed by a box that can reach them."""

RECENT = timedelta(days=30)
"""A box that has not used a location for this time no longer counts as sharing it."""
REFRESH_SECONDS = 3600.0
UNKNOWN_EXPIRY = timedelta(days=90)
"""Time after which the removal of a picture at an unknown location is abandoned."""
MACHINE_ID = Path("/etc/machine-id")
BOX_ID = "box-id"
"""The file in the data folder with the id of the box."""


@dataclass(frozen=True, slots=True)
class LocationUse:
    """Record that a box stores pictures of a user at a location."""

    location: str
    box: str
    machine: str
    """Digest of the ids of machine and data folder."""
    owner: ObjectId
    address: str
    seen: datetime


@dataclass(frozen=True, slots=True)
class KnownLocations:
    """The storage locations as this box sees them at one moment."""

    here: str | None
    """The id of this box's location; None if it is new, or its disk not mounted."""
    mine: frozenset[str]
    """The ids of this location, and of locations that only this box has used, such as an unmounted disk."""
    uses: tuple[LocationUse, ...] = field(repr=False)
    shared_with: tuple[str, ...]
    """Names of other boxes with the same location id, because they share it or were cloned from one
    another."""

    def users_elsewhere(
        self, owners: Iterable[ObjectId], own: Collection[ObjectId] = ()
    ) -> frozenset[ObjectId]:
        """The users whose pictures are all at locations of other boxes."""
        elsewhere = {use.owner for use in self.uses if use.location not in self.mine}
        here = {use.owner for use in self.uses if use.location in self.mine}
        return frozenset(owner for owner in owners if owner in elsewhere - here and owner not in own)

    def describe(self, location: str | None) -> str:
        """The location and its boxes, for messages."""
        if location is None:
            return "an unknown location"
        uses = sorted((use for use in self.uses if use.location == location), key=lambda use: use.seen)
        if not uses:
            return f"the location {location}"
        boxes = ", ".join(dict.fromkeys(use.box for use in uses))
        return f"{uses[-1].address} of the box {boxes}, last used {uses[-1].seen:%Y-%m-%d}"


class Locations:
    """The storage locations recorded in a database, as used by one box."""

    def __init__(self, database: Database, uploads: Uploads, box: str = "", home: Path | None = None) -> None:
        """`box`: this box's name. Default: the host name. `home`: the box's data folder."""
        self._uses = database[USES]
        self._removals = database[REMOVALS]
        self._faces = database["faces"]
        self._uploads = uploads
        self._box = box or socket.gethostname()
        self._home = home
        self._machine = _machine(home)
        self._recorded_until: dict[tuple[str, ObjectId], float] = {}
        self.latest: str | None = None
        """The id of this box's location at the last upload."""

    async def claim(self, owner: ObjectId) -> str:
        """The id of this box's location, created on first use; records the use for this user.

        Raises:
            UploadError: the location cannot be used at present.
        """
        self.latest = location = await self._uploads.claim()
        if self._home is not None and not self._recorded_until:
            await asyncio.to_thread(_make_id, self._home)
            self._machine = _machine(self._home)
        if self._recorded_until.get((location, owner), 0.0) < time.monotonic():
            use = {"location": location, "box": self._box, "machine": self._machine, "owner": owner}
            seen = {**use, "address": self._uploads.address, "seen": datetime.now(UTC)}
            key = f"{location} {self._machine} {self._box} {owner}"
            try:
                await self._uses.update_one({"_id": key}, {"$set": seen}, upsert=True)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "upload_locations.write") from error
            self._recorded_until[location, owner] = time.monotonic() + REFRESH_SECONDS
        return location

    async def box_id(self) -> str:
        """The id in the data folder, which distinguishes boxes of the same name; created on first use.

        "" if it cannot be read or written.
        """
        if self._home is None:
            return ""
        try:
            await asyncio.to_thread(_make_id, self._home)
        except UploadError as error:
            log.warning("the id of this box cannot be kept; its name alone counts", reason=str(error))
        return await asyncio.to_thread(_read_id, self._home / BOX_ID)

    async def forget(self, owner: ObjectId) -> None:
        """Remove the records of a deleted user."""
        try:
            await self._uses.delete_many({"owner": owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "upload_locations.delete") from error

    async def known(self) -> KnownLocations:
        """The known locations. UploadError if this box's location cannot be reached."""
        here = await self._uploads.location()
        try:
            uses = tuple([_use(document) async for document in self._uses.find({})])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "upload_locations.find") from error
        others = {use.location for use in uses if not self._is_own(use)}
        mine = {use.location for use in uses} - others
        if here is not None:
            mine.add(here)
        cutoff = datetime.now(UTC) - RECENT
        shared = {
            use.box
            for use in uses
            if use.location == here and not self._is_own(use) and use.seen.astimezone(UTC) >= cutoff
        }
        return KnownLocations(here, frozenset(mine), uses, tuple(sorted(shared)))

    def _is_own(self, use: LocationUse) -> bool:
        return (use.box, use.machine) == (self._box, self._machine)

    async def remove_later(self, face: Mapping[str, Any], pictures: Collection[Picture]) -> None:
        """Record pictures of a face that this box cannot reach, for removal by a box that can."""
        now = datetime.now(UTC)
        notes = []
        for picture in pictures:
            note = {"key": picture.key, "location": picture.location, "at": now}
            note |= {"face": face["_id"], "owner": face["owner"]}
            if picture.location is None:
                note["expires"] = now + UNKNOWN_EXPIRY
            notes.append(UpdateOne({"_id": f"{picture.location} {picture.key}"}, {"$set": note}, upsert=True))
        if notes:
            try:
                await self._removals.bulk_write(notes, ordered=False)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "picture_removals.write") from error

    async def waiting(self, here: str | None) -> int:
        """The number of pictures at this box's location that wait for removal."""
        try:
            return int(await self._removals.count_documents({"location": here})) if here else 0
        except DRIVER_ERRORS as error:
            raise translate_error(error, "picture_removals.count") from error

    async def remove_recorded(self) -> int:
        """Remove the pictures at this box's location that were recorded by `remove_later`; returns their
        number.

        Raises:
            StoreError: MongoDB or the location cannot be reached; the next call continues.
        """
        locations = await self.known()
        if locations.here is None:
            return 0
        removed = 0
        try:
            async for note in self._removals.find({"location": {"$in": [locations.here, None]}}):
                deleted = False
                if not await self._is_named(note):
                    deleted = await self._uploads.delete(note["key"])
                    removed += deleted
                    if not deleted and (note["location"] is None or locations.shared_with):
                        continue  # another box may have the picture
                await self._removals.delete_one({"_id": note["_id"]})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "picture_removals") from error
        return removed

    async def _is_named(self, note: Mapping[str, Any]) -> bool:
        face = await self._faces.ungated.find_one({"_id": note["face"]})
        return face is not None and note["key"] in {
            picture.key for picture in pictures_of(self._uploads, face)
        }


def _use(document: Mapping[str, Any]) -> LocationUse:
    return LocationUse(
        *(document[name] for name in ("location", "box", "machine", "owner", "address", "seen"))
    )


def _machine(home: Path | None) -> str:
    """A digest of machine and data folder; the machine id itself is confidential."""
    parts = [_read_id(path) for path in (MACHINE_ID, *([home / BOX_ID] if home else []))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read_id(path: Path) -> str:
    try:
        return read_regular(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _make_id(home: Path) -> None:
    """Create the id of a data folder, which distinguishes boxes on one machine."""
    try:
        make_folder(home)
        if (home / BOX_ID).is_file() and (home / BOX_ID).stat().st_size:
            return
        write_durably(home / BOX_ID, f"{secrets.token_hex(16)}\n".encode())
    except OSError as error:
        raise UploadError(f"{home / BOX_ID} cannot be written: {error.strerror or error}") from error
