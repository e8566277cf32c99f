"""Whether every picture that a face names is there, and every picture that is there has a face."""

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
from store.upkeep.orphans import ALWAYS_ALLOWED, LARGEST_SHARE, Orphans
from store.uploads.image import Image
from store.uploads.locations import LOCATIONS, PICTURES, Picture, Places, pictures_of

BATCH = 500
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Checked:
    """The pictures of one face."""

    face: Document
    here: Sequence[Picture]
    """Those that lie at this box's place, or should."""
    lost: Sequence[Picture]
    """Those of them that do not."""
    not_recorded: Sequence[Picture]
    """Those of them whose record names another place of this box, or none."""


class PicturesCheck:
    """Compares the documents with the uploads, a batch of faces or a day of pictures at a time.

    A picture is lost where its face says that it lies at this box's place, and it does not. Pictures at
    places of other boxes are counted and left alone; so are those of faces without a record, unless one of
    them is found here.
    """

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._faces = ctx.database["faces"]
        self._orphans = Orphans(ctx)
        self._elsewhere: Counter[str | None] = Counter()
        self._other_address = 0

    async def run(self) -> AsyncIterator[Finding]:
        places = await self._places()
        if number := await self._ctx.locations.waiting(places.here):
            done = "removed" if self._scope.repair and await self._ctx.locations.carry_out() else ""
            yield Finding(FindingKind.WAITING_PICTURE, places.describe(places.here), _pictures(number), done)
        async for finding in self._named(places):
            yield finding
        for note in self._notes(places):
            yield note
        if places.here is not None:
            async for finding in self._unnamed():
                yield finding

    async def _named(self, places: Places) -> AsyncIterator[Finding]:
        refusal = await self._refusal_to_unname(places)
        if refusal:
            yield Finding(FindingKind.REFUSED, "missing pictures", refusal)
        self._elsewhere.clear()
        for owner in sorted(self._scope.checked):
            async for checked in self._checked(owner, places):
                for picture in checked.lost:
                    if (found := await self._lost(owner, checked.face, picture, places, refusal)) is not None:
                        yield found
                if self._scope.repair or self._scope.repair_facens:
                    await self._record(checked, places)
                self._other_address += 0 if places.shared_with else len(self._moved(checked))
        if number := self._other_address:
            done = "the faces name the present address" if self._scope.repair else ""
            yield Finding(FindingKind.OTHER_ADDRESS, self._ctx.uploads.address, _pictures(number), done)

    async def _places(self) -> Places:
        """The places; a folder from before places had ids gets one where this check may write."""
        places = await self._ctx.locations.places()
        if places.here is None and (self._scope.repair or self._scope.repair_facens):
            folders = set(await self._ctx.uploads.list_folders())
            for owner in self._scope.checked:
                if str(owner) in folders:
                    await self._ctx.locations.claim(owner)
                    places = await self._ctx.locations.places()
        return places

    async def _checked(self, owner: ObjectId, places: Places) -> AsyncIterator[_Checked]:
        """The faces with pictures at this place, and those with pictures that may lie here."""
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
            keys = [one.key for _, pictures in old for one in pictures if _may_be_here(one, places)]
            missing = set(await self._ctx.uploads.missing(keys)) if places.here else set(keys)
            for face, pictures in old:
                yield self._sorted(face, pictures, missing, places)

    def _sorted(
        self, face: Document, pictures: Sequence[Picture], missing: set[str], places: Places
    ) -> _Checked:
        recorded = [one for one in pictures if one.location is not None and one.location == places.here]
        others = [one for one in pictures if one not in recorded]
        found = [one for one in others if _may_be_here(one, places) and one.key not in missing]
        # With one of them the others without a record are this box's, too.
        ours = found + [
            one
            for one in others
            if one not in found and one.location is None and places.here and (found or self._scope.force)
        ]
        self._elsewhere.update(one.location for one in others if one not in ours)
        here = [*recorded, *ours]
        return _Checked(face, here, [one for one in here if one.key in missing], ours)

    async def _refusal_to_unname(self, places: Places) -> str:
        """Why lost pictures stay named although it was asked to repair; empty where they do not."""
        if not self._scope.repair or self._scope.force or places.here is None:
            return ""
        lost = total = 0
        for owner in self._scope.checked:
            async for checked in self._checked(owner, places):
                lost, total = lost + len(checked.lost), total + len(checked.here)
        if lost and places.shared_with:
            return (
                f"{', '.join(places.shared_with)} uses the same place, or was cloned from this box with its "
                f"{self._ctx.uploads.address}facend-location: {lost} pictures may lie there"
            )
        if lost > max(ALWAYS_ALLOWED, total * LARGEST_SHARE):
            return (
                f"{lost} of {total} pictures are missing at {self._ctx.uploads.address}: "
                "is every disk mounted?"
            )
        return ""

    async def _lost(
        self, owner: ObjectId, face: Document, picture: Picture, places: Places, refusal: str
    ) -> Finding | None:
        this = {"_id": face["_id"], "owner": owner, picture.field: picture.url}
        document = await self._faces.find_one(this)
        if document is None or not await self._ctx.uploads.missing([picture.key]):
            return None
        if await self._ctx.uploads.location() != places.here:  # unmounted in this moment
            return None
        subject, detail = f"face {face['_id']}", f"{picture.field} {picture.url}"
        if not self._scope.repair or refusal:
            return Finding(FindingKind.MISSING_PICTURE, subject, detail)
        if picture.field == "thumbnail" and await self._cut_again(Face(document)):
            return Finding(FindingKind.MISSING_PICTURE, subject, detail, "cut it from the photo again")
        await self._faces.update_one(this, {"$unset": {picture.field: ""}})
        return Finding(FindingKind.MISSING_PICTURE, subject, detail, "the face does not name it any more")

    async def _cut_again(self, face: Face) -> bool:
        photo = pictures_of(self._ctx.uploads, face, ["photo"])
        data = await self._ctx.uploads.get(photo[0].key) if photo else None
        if data is None:
            return False
        try:
            await self._ctx.faces.upload_thumbnail(face, Image(data, MAX_PIXELS))  # a photo of ours
        except BadValueError:  # the photo is damaged, or the box lies outside it
            return False
        return True

    async def _record(self, checked: _Checked, places: Places) -> None:
        """Brings the record and the addresses of the pictures that lie here up to date."""
        recorded = checked.face.get(LOCATIONS)
        new = dict.fromkeys((one.field for one in checked.not_recorded), places.here)
        rename = self._scope.repair and not places.shared_with
        changes: dict[str, object] = dict(self._moved(checked)) if rename else {}
        if new:
            await self._ctx.locations.claim(checked.face["owner"])  # so that others know
            changes[LOCATIONS] = {**(recorded if isinstance(recorded, Mapping) else {}), **new}
        if changes:
            this = {"_id": checked.face["_id"], "owner": checked.face["owner"]}
            unchanged = {one.field: one.url for one in checked.here if one not in checked.lost}
            await self._faces.update_one({**this, **unchanged}, {"$set": changes})

    def _moved(self, checked: _Checked) -> dict[str, str]:
        """The present URLs of pictures that the face names by an earlier one, by field."""
        there = (one for one in checked.here if one not in checked.lost)
        urls = {one.field: (one.url, self._ctx.uploads.url_of(one.key)) for one in there}
        return {name: present for name, (named, present) in urls.items() if present != named}

    def _notes(self, places: Places) -> list[Finding]:
        notes = []
        for location, number in self._elsewhere.items():
            if location is None:
                detail = f"{_pictures(number)} of faces without a record of the place, and not found here"
                notes.append(Finding(FindingKind.UNKNOWN_PLACE, "uploads", f"{detail}; left alone"))
            elif location in places.mine:
                detail = f"{_pictures(number)}; is the disk mounted?"
                notes.append(Finding(FindingKind.NOT_MOUNTED, places.describe(location), detail))
            else:
                subject = places.describe(location)
                notes.append(Finding(FindingKind.ELSEWHERE, subject, f"{_pictures(number)}; left alone"))
        return notes

    async def _unnamed(self) -> AsyncIterator[Finding]:
        """Pictures that no face names, removed where there are not too many."""

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
                    done = "removed it" if await uploads.delete(orphan.key) else ""
                elif await uploads.missing([orphan.key]):
                    continue  # removed with its face at this moment
                yield Finding(FindingKind.ORPHANED_PICTURE, f"face {orphan.face_id}", orphan.key, done)


def _may_be_here(picture: Picture, places: Places) -> bool:
    return picture.location is None or picture.location in places.mine


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"
