"""Enrols people from pictures, so that every camera recognises them.

The face of a picture is added to three galleries: `default`, the requested one, and `enrolled`. Recognition
searches `enrolled` before the camera's own person gallery, so that enrolled people are known at every camera,
also at those added later, whether or not cameras share their persons.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.sparse.csgraph import connected_components

from pipeline.faces.facen import confidence
from pipeline.types import Facen
from store.collections.galleries import DEFAULT_GALLERY
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError, ConflictError
from store.face import Face
from store.face_fields import usable_facen
from store.identity.change_log import Change
from store.identity.enrolment_examination import (
    EnrolmentSettings,
    ExaminedPicture,
    PictureExaminer,
    read_picture,
)
from store.identity.enrolment_folder import EnrolmentPicture, person_key
from store.identity.look_back import LookBack, LookBackRules
from store.settings import ENROLLED_GALLERY, PERSON_GALLERY
from store.uploads.image import Image

MAX_COMPARED = 200
"""New pictures are compared with this number of a person's enrolled faces, the best first."""


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The result for one picture."""

    label: str
    result: Literal["taken", "known", "doubtful", "refused"]
    """`known`: the picture is already enrolled in this gallery. `doubtful`: it is unlike the other pictures
    of its person, and is enrolled only with `EnrolmentSettings.confirmed`."""
    reason: str = ""
    """Reason of a refusal or doubt."""
    person: str | None = None
    person_id: int | None = None
    face_id: int | None = None


class Enrolment:
    """Enrols pictures into one gallery of one user. Can be repeated: nothing is added twice."""

    def __init__(self, ctx: Context, user: UserArgument, settings: EnrolmentSettings) -> None:
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._galleries = list(dict.fromkeys([DEFAULT_GALLERY, settings.gallery, ENROLLED_GALLERY]))
        self._examiner = PictureExaminer(ctx, user, settings, self._galleries)
        self._persons: dict[str, int] = {}
        self.merges: list[Change] = []
        """Merges of nameless persons into the enrolled ones."""

    async def run(self, pictures: Sequence[EnrolmentPicture]) -> AsyncIterator[EnrolmentResult]:
        """Enrols the pictures in order; examines the next one while one is stored.

        Raises StoreError if the store cannot be reached; a second run continues from there.
        """
        for gallery in self._galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
        await self._ctx.faces.catch_up(self._user, ENROLLED_GALLERY, everything=True)
        named = {"name": {"$type": "string"}}
        for person in await self._ctx.persons.find(self._user, named, sort=[("_id", 1)]):
            self._persons.setdefault(person_key(person["name"]), person["_id"])
        groups = _groups(pictures)
        next_group: asyncio.Task[list[ExaminedPicture]] | None = None
        taken: set[int] = set()
        try:
            for number, group in enumerate(groups):
                examined = await (next_group or self._examine_group(group))
                following = groups[number + 1 : number + 2]
                next_group = asyncio.create_task(self._examine_group(following[0])) if following else None
                for one in await self._mark_doubtful(examined):
                    result = await self._enrol(one)
                    if result.result == "taken" and result.person_id is not None:
                        taken.add(result.person_id)
                    yield result
            await self._look_back(taken)
        finally:
            if next_group is not None:
                next_group.cancel()
                await asyncio.gather(next_group, return_exceptions=True)

    async def _look_back(self, persons: Collection[int]) -> None:
        """Merge nameless persons, whom cameras created, into the enrolled ones."""
        if not persons:
            return
        threshold = await self._ctx.persons.threshold_for(
            self._user, PERSON_GALLERY, self._settings.threshold
        )
        rules = LookBackRules(threshold, max(threshold, self._settings.certain))
        self.merges = await LookBack(self._ctx, self._user, rules).run(sorted(persons))

    async def _examine_group(self, pictures: Sequence[EnrolmentPicture]) -> list[ExaminedPicture]:
        return [await self._examiner.examine(picture) for picture in pictures]

    async def _mark_doubtful(self, group: list[ExaminedPicture]) -> list[ExaminedPicture]:
        """Add a doubt to each picture of a person that is unlike the others."""
        name = group[0].picture.person
        indices = [index for index, one in enumerate(group) if one.facen is not None]
        if name is None or not indices:
            return group
        person_id = self._persons.get(person_key(name))
        enrolled = await self._facens_of(person_id, [one.known for one in group if one.known is not None])
        trusted = [
            one.known is not None and one.known.get("person_id") == person_id
            for one in (group[index] for index in indices)
        ]
        facens = [facen for one in group if (facen := one.facen) is not None]
        of_person = [*trusted, *([True] * len(enrolled))]
        found = unlike_others([*facens, *enrolled], of_person, self._settings.alike)
        doubts = {
            indices[index]: f"unlike the other pictures in this folder ({confidence:.2f})"
            for index, confidence in found.items()
            if index < len(indices)
        }
        return [replace(one, doubt=doubts.get(index, "")) for index, one in enumerate(group)]

    async def _facens_of(self, person_id: int | None, known: Sequence[Face]) -> list[Facen]:
        """The facens of the person's enrolled faces, except those in `known`."""
        if person_id is None:
            return []
        query = {
            "person_id": person_id,
            "gallery": ENROLLED_GALLERY,
            "_id": {"$nin": [face["_id"] for face in known]},
        }
        faces = await self._ctx.faces.find(self._user, query, sort=[("score", -1)], limit=MAX_COMPARED)
        facens = (usable_facen(face, self._ctx.faces.facen_size) for face in faces)
        return [facen for facen in facens if facen is not None]

    async def _enrol(self, examined: ExaminedPicture) -> EnrolmentResult:
        picture = examined.picture
        if examined.refusal:
            return EnrolmentResult(picture.label, "refused", examined.refusal, picture.person)
        if examined.face is None:
            assert examined.known is not None  # noqa: S101  not refused, so found or known
            return await self._result_for_known(picture, examined.known)
        if examined.doubt and not self._settings.confirmed:
            return EnrolmentResult(picture.label, "doubtful", examined.doubt, picture.person)
        try:
            photo = await asyncio.to_thread(self._photo, picture.path)
        except (OSError, BadValueError) as error:
            return EnrolmentResult(picture.label, "refused", f"unreadable: {error}", picture.person)
        face, doubt = examined.known, ""
        if face is None:
            if (stored := await self._examiner.find(examined.key)) is not None:  # twice in this folder
                return await self._result_for_known(picture, stored)
            face = Face.from_extraction_face(examined.face)
            face.update(
                sighting_id=examined.key,
                meta=picture.label,
                detector_info={
                    "pack": self._settings.pack,
                    "enrolled": self._settings.gallery,
                    "quality": {name: round(value, 4) for name, value in examined.quality.items()},
                },
            )
            face["person_id"], doubt = await self._person(picture.person, face)
            doubt = examined.doubt or doubt
            try:
                face = await self._ctx.faces.add(self._user, face)
            except ConflictError:  # another process is enrolling the same picture
                return await self._result_for_known(picture, await self._stored(examined.key))
        await self._ctx.faces.complete_galleries(face, self._galleries)
        face.normalized = examined.face["normalized"]
        await self._ctx.faces.upload(face, photo)
        return EnrolmentResult(picture.label, "taken", doubt, picture.person, face["person_id"], face["_id"])

    async def _stored(self, key: str) -> Face:
        face = await self._examiner.find(key)
        if face is None:
            raise ConflictError(f"the enrolled face {key} was removed meanwhile; enrol again")
        return face

    def _photo(self, path: Path) -> Image:
        """The picture without its metadata, which can contain where and with which phone it was taken."""
        return Image(read_picture(path), self._ctx.faces.max_pixels).without_metadata()

    async def _result_for_known(self, picture: EnrolmentPicture, face: Face) -> EnrolmentResult:
        """The result for an enrolled picture. If the folder names another person, moves it or names its
        person."""
        person_id = face.get("person_id")
        name, reason = await self._name_of(person_id), ""
        if picture.person is None or (name is not None and person_key(name) == person_key(picture.person)):
            return EnrolmentResult(picture.label, "known", "", name, person_id, face["_id"])
        was = name or f"person {person_id}"
        named = self._persons.get(person_key(picture.person))
        if name is None and named is None and person_id is not None:
            change = {"$set": {"name": picture.person}}
            await self._ctx.persons.update_one(self._user, {"_id": person_id}, change)
            self._persons[person_key(picture.person)] = person_id
            reason = f"{was} is named {picture.person} now"
        elif self._settings.move:
            person_id = await self._person_named(picture.person)
            moved = {"$set": {"person_id": person_id}}
            await self._ctx.faces.update_one(self._user, {"_id": face["_id"]}, moved)
            reason = f"moved from {was}"
        else:
            refusal = f"the same picture is enrolled as {was}; --move moves it to {picture.person}"
            return EnrolmentResult(picture.label, "refused", refusal, picture.person)
        return EnrolmentResult(picture.label, "known", reason, picture.person, person_id, face["_id"])

    async def _person_named(self, name: str) -> int:
        """The id of the person with this name, who is created if necessary."""
        key = person_key(name)
        if key not in self._persons:
            self._persons[key] = (await self._ctx.persons.add(self._user, {"name": name}))["_id"]
        return self._persons[key]

    async def _person(self, name: str | None, face: Face) -> tuple[int, str]:
        """The id of a face's person, created if necessary, and a doubt, if any."""
        threshold = await self._ctx.persons.threshold_for(
            self._user, ENROLLED_GALLERY, self._settings.threshold
        )
        match = await self._ctx.persons.resolve(
            self._user, face, ENROLLED_GALLERY, threshold, create=name is None
        )
        if name is None:
            assert match.person_id is not None  # noqa: S101  `create` was given
            return match.person_id, ""
        person_id = await self._person_named(name)
        if match.person_id in (None, person_id):
            return person_id, ""
        other = await self._name_of(match.person_id) or f"person {match.person_id}"
        return person_id, f"looks like {other} (confidence {match.confidence:.2f})"

    async def _name_of(self, person_id: int | None) -> str | None:
        person = await self._ctx.persons.find_one(self._user, {"_id": person_id})
        return person.get("name") if person else None


def _groups(pictures: Sequence[EnrolmentPicture]) -> list[list[EnrolmentPicture]]:
    """The pictures of each person, in the order of their first pictures; each nameless picture is a group."""
    groups: dict[object, list[EnrolmentPicture]] = {}
    for number, picture in enumerate(pictures):
        groups.setdefault(person_key(picture.person) if picture.person else number, []).append(picture)
    return list(groups.values())


def unlike_others(facens: Sequence[Facen], trusted: Sequence[bool], alike: float) -> dict[int, float]:
    """Indices of those of a person's facens that are unlike the others, with their highest confidence.

    Facens are alike if a chain of confidences of `alike` or more connects them. The groups with trusted
    facens are the person; without trusted facens, the largest group. If several are equally large, all are
    unlike.
    """
    if len(facens) < 2:
        return {}
    vectors = np.stack(facens)
    confidences = np.asarray(confidence(vectors @ vectors.T))
    _, groups = connected_components(confidences >= alike, directed=False)
    sizes = np.bincount(groups)
    if any(trusted):
        main = np.isin(groups, groups[np.asarray(trusted)])
    elif (sizes == sizes.max()).sum() == 1:
        main = groups == sizes.argmax()
    else:
        main = np.zeros(len(facens), bool)
    found = {}
    for index in np.flatnonzero(~main):
        others = main if main.any() else groups != groups[index]
        found[int(index)] = float(confidences[index][others].max())
    return found
