"""Checks that each picture of a face exists, and that each stored picture has a face."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from pipeline.limits import MAX_PIXELS
from store.context import Context
from store.errors import BadValueError
from store.face import Face
from store.upkeep.doctor.findings import Finding, FindingKind, Scope
from store.upkeep.orphans import ALWAYS_ALLOWED, MAX_SHARE, Orphans
from store.uploads.face_pictures import LOCATIONS, PICTURES, Picture, pictures_of
from store.uploads.image import Image
from store.uploads.locations import KnownLocations

BATCH = 500
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _FacePictures:
    """The pictures of one face."""

    face: Document
    here: Sequence[Picture]
    """Pictures that are, or should be, at this box's location."""
    lost: Sequence[Picture]
    """Pictures in `here` that are missing."""
    not_recorded: Sequence[Picture]
    """Pictures in `here` that the face records at another location of this box, or not at all."""


class PicturesCheck:
    """Compares the documents with the uploads, a batch of faces or a day of pictures at a time.

    A picture is lost if its face records it at this box's location and it is missing there. Pictures at other
    boxes' locations are only counted; so are pictures without a record, unless another picture of the same
    face is found here.
    """

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._faces = ctx.database["faces"]
        self._orphans = Orphans(ctx)
        self._elsewhere: Counter[str | None] = Counter()
        self._other_address = 0

    async def run(self) -> AsyncIterator[Finding]:
        locations = await self._locations()
        if number := await self._ctx.locations.waiting(locations.here):
            done = "removed" if self._scope.repair and await self._ctx.locations.remove_recorded() else ""
            yield Finding(
                FindingKind.WAITING_PICTURE, locations.describe(locations.here), _pictures(number), done
            )
        async for finding in self._check_faces(locations):
            yield finding
        for note in self._notes(locations):
            yield note
        if locations.here is not None:
            async for finding in self._check_orphans():
                yield finding

    async def _check_faces(self, locations: KnownLocations) -> AsyncIterator[Finding]:
        refusal = await self._repair_refusal(locations)
        if refusal:
            yield Finding(FindingKind.REFUSED, "missing pictures", refusal)
        self._elsewhere.clear()
        for owner in sorted(self._scope.checked):
            async for checked in self._face_pictures(owner, locations):
                for picture in checked.lost:
                    if (
                        found := await self._lost(owner, checked.face, picture, locations, refusal)
                    ) is not None:
                        yield found
                if self._scope.repair or self._scope.repair_facens:
                    await self._record(checked, locations)
                self._other_address += 0 if locations.shared_with else len(self._moved(checked))
        if number := self._other_address:
            done = "updated the faces' URLs" if self._scope.repair else ""
            yield Finding(FindingKind.OTHER_ADDRESS, self._ctx.uploads.address, _pictures(number), done)

    async def _locations(self) -> KnownLocations:
        """The locations. A folder without an id gets one if this check may write."""
        locations = await self._ctx.locations.known()
        if locations.here is None and (self._scope.repair or self._scope.repair_facens):
            folders = set(await self._ctx.uploads.list_folders())
            for owner in self._scope.checked:
                if str(owner) in folders:
                    await self._ctx.locations.claim(owner)
                    locations = await self._ctx.locations.known()
        return locations

    async def _face_pictures(
        self, owner: ObjectId, locations: KnownLocations
    ) -> AsyncIterator[_FacePictures]:
        """The faces with pictures that are or may be at this location."""
        last, fields = -1, dict.fromkeys((*PICTURES, LOCATIONS, "owner"), 1)
        while True:
            query = {"owner": owner, "_id": {"$gt": last}}
            batch: list[dict[str, Any]] = (
                await self._faces.find(query, fields).sort("_id", 1).limit(BATCH).to_list(BATCH)
            )
            if not batch:
                return
            last = batch[-1]["_id"]
            old = [
                (face, pictures_of(self._ctx.uploads, face))
                for face in batch
                if not self._scope.is_young(face["_id"])
            ]
            keys = [one.key for _, pictures in old for one in pictures if _may_be_here(one, locations)]
            missing = set(await self._ctx.uploads.missing(keys)) if locations.here else set(keys)
            for face, pictures in old:
                yield self._classify(face, pictures, missing, locations)

    def _classify(
        self, face: Document, pictures: Sequence[Picture], missing: set[str], locations: KnownLocations
    ) -> _FacePictures:
        recorded = [one for one in pictures if one.location is not None and one.location == locations.here]
        others = [one for one in pictures if one not in recorded]
        found = [one for one in others if _may_be_here(one, locations) and one.key not in missing]
        # If one picture is found here, the face's other pictures without a record belong here as well.
        ours = found + [
            one
            for one in others
            if one not in found and one.location is None and locations.here and (found or self._scope.force)
        ]
        self._elsewhere.update(one.location for one in others if one not in ours)
        here = [*recorded, *ours]
        return _FacePictures(face, here, [one for one in here if one.key in missing], ours)

    async def _repair_refusal(self, locations: KnownLocations) -> str:
        """Why a repair must not remove the URLs of lost pictures from their faces; empty if it may."""
        if not self._scope.repair or self._scope.force or locations.here is None:
            return ""
        lost = total = 0
        for owner in self._scope.checked:
            async for checked in self._face_pictures(owner, locations):
                lost, total = lost + len(checked.lost), total + len(checked.here)
        if lost and locations.shared_with:
            boxes = ", ".join(locations.shared_with)
            return (
                f"{boxes} uses the same location, or was cloned from this box with its "
                f"{self._ctx.uploads.address}facend-location: {lost} pictures may be there"
            )
        if lost > max(ALWAYS_ALLOWED, total * MAX_SHARE):
            return (
                f"{lost} of {total} pictures are missing at {self._ctx.uploads.address}: "
                "is every disk mounted?"
            )
        return ""

    async def _lost(
        self, owner: ObjectId, face: Document, picture: Picture, locations: KnownLocations, refusal: str
    ) -> Finding | None:
        this = {"_id": face["_id"], "owner": owner, picture.field: picture.url}
        document = await self._faces.find_one(this)
        if document is None or not await self._ctx.uploads.missing([picture.key]):
            return None
        if await self._ctx.uploads.location() != locations.here:  # unmounted meanwhile
            return None
        subject, detail = f"face {face['_id']}", f"{picture.field} {picture.url}"
        if not self._scope.repair or refusal:
            return Finding(FindingKind.MISSING_PICTURE, subject, detail)
        if picture.field == "thumbnail" and await self._recreate_thumbnail(Face(document)):
            return Finding(FindingKind.MISSING_PICTURE, subject, detail, "recreated from the photo")
        await self._faces.update_one(this, {"$unset": {picture.field: ""}})
        return Finding(FindingKind.MISSING_PICTURE, subject, detail, "removed its URL from the face")

    async def _recreate_thumbnail(self, face: Face) -> bool:
        photo = pictures_of(self._ctx.uploads, face, ["photo"])
        data = await self._ctx.uploads.get(photo[0].key) if photo else None
        if data is None:
            return False
        try:
            await self._ctx.faces.upload_thumbnail(
                face, Image(data, MAX_PIXELS)
            )  # a photo that Facend stored
        except BadValueError:  # the photo is damaged, or the box lies outside it
            return False
        return True

    async def _record(self, checked: _FacePictures, locations: KnownLocations) -> None:
        """Update the locations and URLs that a face records for pictures found here."""
        recorded = checked.face.get(LOCATIONS)
        new = dict.fromkeys((one.field for one in checked.not_recorded), locations.here)
        rename = self._scope.repair and not locations.shared_with
        changes: dict[str, object] = dict(self._moved(checked)) if rename else {}
        if new:
            await self._ctx.locations.claim(checked.face["owner"])  # visible to other boxes
            changes[LOCATIONS] = {**(recorded if isinstance(recorded, Mapping) else {}), **new}
        if changes:
            this = {"_id": checked.face["_id"], "owner": checked.face["owner"]}
            unchanged = {one.field: one.url for one in checked.here if one not in checked.lost}
            await self._faces.update_one({**this, **unchanged}, {"$set": changes})

    def _moved(self, checked: _FacePictures) -> dict[str, str]:
        """The current URLs, by field, of pictures for which the face has an earlier URL."""
        present = (picture for picture in checked.here if picture not in checked.lost)
        urls = {picture.field: (picture.url, self._ctx.uploads.url_of(picture.key)) for picture in present}
        return {field: new for field, (old, new) in urls.items() if new != old}

    def _notes(self, locations: KnownLocations) -> list[Finding]:
        notes = []
        for location, number in self._elsewhere.items():
            if location is None:
                detail = f"{_pictures(number)} without a recorded location, not found here"
                notes.append(Finding(FindingKind.UNKNOWN_LOCATION, "uploads", f"{detail}; not checked"))
            elif location in locations.mine:
                detail = f"{_pictures(number)}; is the disk mounted?"
                notes.append(Finding(FindingKind.NOT_MOUNTED, locations.describe(location), detail))
            else:
                subject = locations.describe(location)
                notes.append(Finding(FindingKind.ELSEWHERE, subject, f"{_pictures(number)}; not checked"))
        return notes

    async def _check_orphans(self) -> AsyncIterator[Finding]:
        """Orphaned pictures; a repair removes them unless there are too many."""

        def old(face_id: int) -> bool:
            return not self._scope.is_young(face_id)

        uploads, repair = self._ctx.uploads, self._scope.repair
        folders = [str(owner) for owner in sorted(self._scope.checked)]
        if repair and not self._scope.force:
            refusal = await self._orphans.too_many(await self._orphans.count(folders, old))
            if refusal:
                repair = False
                yield Finding(FindingKind.REFUSED, "orphaned pictures", refusal)
        for folder in folders:
            async for orphan in self._orphans.below(folder, old):
                done = ""
                if repair:
                    done = "removed" if await uploads.delete(orphan.key) else ""
                elif await uploads.missing([orphan.key]):
                    continue  # it was removed with its face meanwhile
                yield Finding(FindingKind.ORPHANED_PICTURE, f"face {orphan.face_id}", orphan.key, done)


def _may_be_here(picture: Picture, locations: KnownLocations) -> bool:
    return picture.location is None or picture.location in locations.mine


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"
