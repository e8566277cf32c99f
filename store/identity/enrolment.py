"""Enrols people from pictures, so that every camera recognises them.

The face of a picture is added to three galleries: `default`, the requested one, and `enrolled`. Recognition
searches `enrolled` before the camera's own person gallery, so that enrolled people are known at every camera,
also at those added later, whether or not cameras share their persons.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.types import ExtractionFace
from store.collections.galleries import DEFAULT_GALLERY
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError, ConflictError
from store.face import Face
from store.mongo.guard import checked_label
from store.recognition.thresholds import Threshold
from store.settings import ENROLLED_GALLERY
from store.uploads.image import Image

MAIN_FACE_RATIO = 2.0
"""Minimum ratio of the largest face's area to the next, for it to be the main face."""
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnrolmentPicture:
    """A picture to enrol."""

    path: Path
    label: str
    """Its name in reports and in the face's `meta`."""
    person: str | None = None
    """The name of the person in it; None where it is not known."""


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The result for one picture."""

    label: str
    result: Literal["taken", "known", "refused"]
    """`known`: this picture was enrolled into this gallery before."""
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


@dataclass(frozen=True, slots=True)
class _Examined:
    """An examined picture: its face, or the reason of its refusal."""

    picture: EnrolmentPicture
    key: str = ""
    known: Face | None = None
    face: ExtractionFace | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    """The parts of the face's quality score."""
    image: Image | None = None
    refusal: str = ""


def pictures_in(folder: Path) -> list[EnrolmentPicture]:
    """The pictures of a folder and of its sub-folders, which are named after persons.

    Skips hidden files. OSError where the folder cannot be read.
    """
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inside = (path for path in sorted(entry.rglob("[!.]*")) if path.is_file())
            found += [EnrolmentPicture(path, str(path.relative_to(folder)), entry.name) for path in inside]
        else:
            found.append(EnrolmentPicture(entry, entry.name))
    return found


class Enrolment:
    """Enrols pictures into one gallery of one user. Can be repeated: nothing is added twice."""

    def __init__(self, ctx: Context, user: UserArgument, settings: EnrolmentSettings) -> None:
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._galleries = list(dict.fromkeys([DEFAULT_GALLERY, settings.gallery, ENROLLED_GALLERY]))
        self._persons: dict[str, int] = {}

    async def run(self, pictures: Sequence[EnrolmentPicture]) -> AsyncIterator[EnrolmentResult]:
        """Enrols the pictures in order; examines the next one while one is stored.

        StoreError where the store cannot be reached; a second run continues from there.
        """
        for gallery in self._galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
        await self._ctx.faces.catch_up(self._user, ENROLLED_GALLERY, everything=True)
        next_picture: asyncio.Task[_Examined] | None = None
        try:
            for number, picture in enumerate(pictures):
                examined = await (next_picture or self._examine(picture))
                following = pictures[number + 1 : number + 2]
                next_picture = asyncio.create_task(self._examine(following[0])) if following else None
                yield await self._enrol(examined)
        finally:
            if next_picture is not None:
                next_picture.cancel()
                await asyncio.gather(next_picture, return_exceptions=True)

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
            judged = await self._ctx.extractor.judged(data)
            face = main_face([one for one, _ in judged])
            # Metadata can say where the photo was taken, and by whose phone.
            image = await asyncio.to_thread(original.without_metadata)
            await asyncio.to_thread(image.crop, face["bbox"])
        except BadValueError as error:
            return _Examined(picture, key, refusal=f"unreadable: {error}")
        except NoMainFaceError as error:
            return _Examined(picture, key, refusal=str(error))
        if face["score"] < self._settings.min_score:
            worse = f"quality {face['score']:.2f} is below {self._settings.min_score:g}"
            return _Examined(picture, key, refusal=f"poor picture: {worse}")
        (parts,) = (quality.parts for one, quality in judged if one is face)
        return _Examined(picture, key, known, face, parts, image)

    async def _is_whole(self, face: Face) -> bool:
        """Whether an earlier run completed this face."""
        return set(self._galleries) <= set(face.galleries) and not await self._ctx.faces.missing(face)

    async def _enrol(self, examined: _Examined) -> EnrolmentResult:
        picture = examined.picture
        if examined.refusal:
            return EnrolmentResult(picture.label, "refused", examined.refusal, picture.person)
        if examined.face is None or examined.image is None:
            assert examined.known is not None  # noqa: S101  what is not refused was found or is known
            return await self._known(picture, examined.known)
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
            try:
                face = await self._ctx.faces.add(self._user, face)
            except ConflictError:  # another process enrols it at this moment
                return await self._known(picture, await self._stored(examined.key))
        await self._ctx.faces.complete_galleries(face, self._galleries)
        face.normalized = examined.face["normalized"]
        await self._ctx.faces.upload(face, examined.image)
        return EnrolmentResult(picture.label, "taken", doubt, picture.person, face["person_id"], face["_id"])

    async def _find(self, key: str) -> Face | None:
        return await self._ctx.faces.find_one(self._user, {"sighting_id": key})

    async def _stored(self, key: str) -> Face:
        face = await self._find(key)
        if face is None:
            raise ConflictError(f"the enrolled face {key} was removed at this moment; enrol again")
        return face

    async def _known(self, picture: EnrolmentPicture, face: Face) -> EnrolmentResult:
        person_id = face.get("person_id")
        name = await self._name_of(person_id)
        if picture.person is not None and name != picture.person:
            reason = f"the same picture is enrolled as {name or f'person {person_id}'}"
            return EnrolmentResult(picture.label, "refused", reason, picture.person)
        return EnrolmentResult(picture.label, "known", "", name, person_id, face["_id"])

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
        if name not in self._persons:
            known = await self._ctx.persons.find_one(self._user, {"name": name}, sort=[("_id", 1)])
            known = known or await self._ctx.persons.add(self._user, {"name": name})
            self._persons[name] = known["_id"]
        person_id = self._persons[name]
        if match.person_id in (None, person_id):
            return person_id, ""
        other = await self._name_of(match.person_id) or f"person {match.person_id}"
        return person_id, f"looks like {other} (confidence {match.confidence:.2f})"

    async def _name_of(self, person_id: int | None) -> str | None:
        person = await self._ctx.persons.find_one(self._user, {"_id": person_id})
        return person.get("name") if person else None


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
