"""Enrols people from pictures, so that every camera recognises them.

The face of a picture is added to three galleries: `default`, the requested one, and `enrolled`. Recognition
searches `enrolled` before the camera's own person gallery, so that enrolled people are known at every camera,
also at those added later, whether or not cameras share their persons.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.sparse.csgraph import connected_components

from pipeline.faces.facen import confidence
from pipeline.types import ExtractionFace, Facen
from store.collections.galleries import DEFAULT_GALLERY
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError, ConflictError
from store.face import Face
from store.face_fields import usable_facen
from store.identity.change_log import Change
from store.identity.enrolment_folder import EnrolmentPicture, person_key
from store.identity.look_back import LookBack, LookBackRules
from store.mongo.guard import checked_label
from store.recognition.thresholds import Threshold
from store.settings import ENROLLED_GALLERY, PERSON_GALLERY
from store.uploads.image import Image

MAIN_FACE_RATIO = 2.0
"""Minimum ratio of the largest face's area to the next, for it to be the main face."""
MAX_BYTES = 64 * 1024 * 1024
MAX_COMPARED = 200
"""New pictures are compared with this number of a person's enrolled faces, the best first."""


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The result for one picture."""

    label: str
    result: Literal["taken", "known", "doubtful", "refused"]
    """`known`: this picture was enrolled into this gallery before. `doubtful`: it is unlike the other
    pictures of its person, and not enrolled unless that is confirmed."""
    reason: str = ""
    """Reason of a refusal, or a doubt."""
    person: str | None = None
    person_id: int | None = None
    face_id: int | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    gallery: str
    pack: str
    """The model pack that makes the facens."""
    threshold: Threshold
    """Minimum confidence, 0 to 1, of a match."""
    min_score: float = -3.0
    """Minimum quality score."""
    alike: float = 0.7
    """Minimum confidence between pictures of one person; see `unlike_others`."""
    confirmed: bool = False
    """Whether pictures are enrolled that are unlike the others of their person."""
    certain: float = 0.9
    """Minimum confidence at which a nameless person is taken for an enrolled one by a single reference."""
    move: bool = False
    """Whether a picture that is enrolled as another person is moved to the one of its folder."""


@dataclass(frozen=True, slots=True)
class _Examined:
    """An examined picture: its face, or the reason of its refusal."""

    picture: EnrolmentPicture
    key: str = ""
    known: Face | None = None
    face: ExtractionFace | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    """The parts of the face's quality score."""
    refusal: str = ""
    doubt: str = ""
    """Why the picture may be of another person than its folder says."""

    @property
    def facen(self) -> Facen | None:
        """The normalised facen; None for a refused picture."""
        if self.known is not None:
            return usable_facen(self.known)
        return None if self.face is None else Face.from_extraction_face(self.face).vector()


class Enrolment:
    """Enrols pictures into one gallery of one user. Can be repeated: nothing is added twice."""

    def __init__(self, ctx: Context, user: UserArgument, settings: EnrolmentSettings) -> None:
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._galleries = list(dict.fromkeys([DEFAULT_GALLERY, settings.gallery, ENROLLED_GALLERY]))
        self._persons: dict[str, int] = {}
        self.joined: list[Change] = []
        """Merges of nameless persons into those that were enrolled."""

    async def run(self, pictures: Sequence[EnrolmentPicture]) -> AsyncIterator[EnrolmentResult]:
        """Enrols the pictures in order; examines the next one while one is stored.

        StoreError where the store cannot be reached; a second run continues from there.
        """
        for gallery in self._galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
        await self._ctx.faces.catch_up(self._user, ENROLLED_GALLERY, everything=True)
        named = {"name": {"$type": "string"}}
        for person in await self._ctx.persons.find(self._user, named, sort=[("_id", 1)]):
            self._persons.setdefault(person_key(person["name"]), person["_id"])
        groups = _groups(pictures)
        next_group: asyncio.Task[list[_Examined]] | None = None
        taken: set[int] = set()
        try:
            for number, group in enumerate(groups):
                examined = await (next_group or self._examine_group(group))
                following = groups[number + 1 : number + 2]
                next_group = asyncio.create_task(self._examine_group(following[0])) if following else None
                for one in await self._compared(examined):
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
        """Joins nameless persons of cameras with those that were enrolled."""
        if not persons:
            return
        threshold = await self._ctx.persons.threshold_for(
            self._user, PERSON_GALLERY, self._settings.threshold
        )
        rules = LookBackRules(threshold, max(threshold, self._settings.certain))
        self.joined = await LookBack(self._ctx, self._user, rules).run(sorted(persons))

    async def _examine_group(self, pictures: Sequence[EnrolmentPicture]) -> list[_Examined]:
        return [await self._examine(picture) for picture in pictures]

    async def _compared(self, group: list[_Examined]) -> list[_Examined]:
        """The pictures of one person, with a doubt for each that is unlike the others."""
        name = group[0].picture.person
        places = [place for place, one in enumerate(group) if one.facen is not None]
        if name is None or not places:
            return group
        person_id = self._persons.get(person_key(name))
        enrolled = await self._facens_of(person_id, [one.known for one in group if one.known is not None])
        trusted = [
            one.known is not None and one.known.get("person_id") == person_id
            for one in (group[place] for place in places)
        ]
        facens = [facen for one in group if (facen := one.facen) is not None]
        of_person = [*trusted, *([True] * len(enrolled))]
        found = unlike_others([*facens, *enrolled], of_person, self._settings.alike)
        doubts = {
            places[place]: f"unlike the other pictures in this folder ({confidence:.2f})"
            for place, confidence in found.items()
            if place < len(places)
        }
        return [replace(one, doubt=doubts.get(place, "")) for place, one in enumerate(group)]

    async def _facens_of(self, person_id: int | None, known: Sequence[Face]) -> list[Facen]:
        """The facens of this person's enrolled faces, without those of `known`."""
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

    async def _examine(self, picture: EnrolmentPicture) -> _Examined:
        try:
            for name in filter(None, (picture.label, picture.person)):
                checked_label(name, "the name of a picture or a person")
        except BadValueError as error:
            return _Examined(picture, refusal=str(error))
        try:
            data = await asyncio.to_thread(_read, picture.path)
        except OSError as error:
            return _Examined(picture, refusal=f"unreadable: {error.strerror or error}")
        if len(data) > MAX_BYTES:
            return _Examined(picture, refusal=f"unreadable: larger than {MAX_BYTES // 2**20} MiB")
        key = f"enrol_{self._settings.gallery}_{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        known = await self._find(key)
        if known is not None and await self._is_whole(known):
            return _Examined(picture, key, known)
        try:
            original = Image(data, self._ctx.faces.max_pixels)
            judged = await self._ctx.extractor.extract_with_quality(data)
            face = main_face([one for one, _ in judged])
            await asyncio.to_thread(original.crop, face["bbox"])
        except BadValueError as error:
            return _Examined(picture, key, refusal=f"unreadable: {error}")
        except NoMainFaceError as error:
            return _Examined(picture, key, refusal=str(error))
        if face["score"] < self._settings.min_score:
            worse = f"quality {face['score']:.2f} is below {self._settings.min_score:g}"
            return _Examined(picture, key, refusal=f"poor picture: {worse}")
        (parts,) = (quality.parts for one, quality in judged if one is face)
        return _Examined(picture, key, known, face, parts)

    async def _is_whole(self, face: Face) -> bool:
        """Whether an earlier run completed this face."""
        return set(self._galleries) <= set(face.galleries) and not await self._ctx.faces.missing(face)

    async def _enrol(self, examined: _Examined) -> EnrolmentResult:
        picture = examined.picture
        if examined.refusal:
            return EnrolmentResult(picture.label, "refused", examined.refusal, picture.person)
        if examined.face is None:
            assert examined.known is not None  # noqa: S101  what is not refused was found or is known
            return await self._known(picture, examined.known)
        if examined.doubt and not self._settings.confirmed:
            return EnrolmentResult(picture.label, "doubtful", examined.doubt, picture.person)
        try:
            photo = await asyncio.to_thread(self._photo, picture.path)
        except (OSError, BadValueError) as error:
            return EnrolmentResult(picture.label, "refused", f"unreadable: {error}", picture.person)
        face, doubt = examined.known, ""
        if face is None:
            if (
                stored := await self._find(examined.key)
            ) is not None:  # the same picture twice in this folder
                return await self._known(picture, stored)
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
            except ConflictError:  # another process enrols it at this moment
                return await self._known(picture, await self._stored(examined.key))
        await self._ctx.faces.complete_galleries(face, self._galleries)
        face.normalized = examined.face["normalized"]
        await self._ctx.faces.upload(face, photo)
        return EnrolmentResult(picture.label, "taken", doubt, picture.person, face["person_id"], face["_id"])

    async def _find(self, key: str) -> Face | None:
        return await self._ctx.faces.find_one(self._user, {"sighting_id": key})

    async def _stored(self, key: str) -> Face:
        face = await self._find(key)
        if face is None:
            raise ConflictError(f"the enrolled face {key} was removed at this moment; enrol again")
        return face

    def _photo(self, path: Path) -> Image:
        """The picture without its metadata, which can say where it was taken, and by whose phone."""
        return Image(_read(path), self._ctx.faces.max_pixels).without_metadata()

    async def _known(self, picture: EnrolmentPicture, face: Face) -> EnrolmentResult:
        """An enrolled picture. If the folder names another person, it is moved, or its person named."""
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
            person_id = await self._named(picture.person)
            moved = {"$set": {"person_id": person_id}}
            await self._ctx.faces.update_one(self._user, {"_id": face["_id"]}, moved)
            reason = f"moved from {was}"
        else:
            refusal = f"the same picture is enrolled as {was}; --move moves it to {picture.person}"
            return EnrolmentResult(picture.label, "refused", refusal, picture.person)
        return EnrolmentResult(picture.label, "known", reason, picture.person, person_id, face["_id"])

    async def _named(self, name: str) -> int:
        """The person of this name, created if necessary."""
        key = person_key(name)
        if key not in self._persons:
            self._persons[key] = (await self._ctx.persons.add(self._user, {"name": name}))["_id"]
        return self._persons[key]

    async def _person(self, name: str | None, face: Face) -> tuple[int, str]:
        """The person of a face, created if necessary, and a doubt, if any."""
        threshold = await self._ctx.persons.threshold_for(
            self._user, ENROLLED_GALLERY, self._settings.threshold
        )
        match = await self._ctx.persons.resolve(
            self._user, face, ENROLLED_GALLERY, threshold, create=name is None
        )
        if name is None:
            assert match.person_id is not None  # noqa: S101  it was to be created
            return match.person_id, ""
        person_id = await self._named(name)
        if match.person_id in (None, person_id):
            return person_id, ""
        other = await self._name_of(match.person_id) or f"person {match.person_id}"
        return person_id, f"looks like {other} (confidence {match.confidence:.2f})"

    async def _name_of(self, person_id: int | None) -> str | None:
        person = await self._ctx.persons.find_one(self._user, {"_id": person_id})
        return person.get("name") if person else None


def _groups(pictures: Sequence[EnrolmentPicture]) -> list[list[EnrolmentPicture]]:
    """The pictures of each person, in the order of their first ones; those without a name one by one."""
    groups: dict[object, list[EnrolmentPicture]] = {}
    for number, picture in enumerate(pictures):
        groups.setdefault(person_key(picture.person) if picture.person else number, []).append(picture)
    return list(groups.values())


def unlike_others(facens: Sequence[Facen], trusted: Sequence[bool], alike: float) -> dict[int, float]:
    """Which of one person's facens are unlike the others, and their greatest confidence with those.

    Facens are alike if a chain of confidences of `alike` or more connects them. The person is whoever the
    trusted ones are, else the largest group; without either, all are in doubt.
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
    for place in np.flatnonzero(~main):
        others = main if main.any() else groups != groups[place]
        found[int(place)] = float(confidences[place][others].max())
    return found


class NoMainFaceError(Exception):
    """The picture has no face that is clearly the main one."""


def main_face(faces: Sequence[ExtractionFace]) -> ExtractionFace:
    """The main face of a picture. NoMainFaceError where there is none, or none stands out."""
    if not faces:
        raise NoMainFaceError("no face found")
    largest, *others = sorted(faces, key=lambda face: -face["bbox"].area)
    if others and largest["bbox"].area < MAIN_FACE_RATIO * others[0]["bbox"].area:
        raise NoMainFaceError(f"{len(faces)} faces, none clearly the main one; cut one out")
    return largest


def _read(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe would block for ever
        raise OSError("no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
