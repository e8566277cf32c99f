"""People from pictures: each picture's face becomes a stored face of a person whom every camera knows then.

A picture's face goes into three galleries: `default`, the one that was asked for, and
`enrolled`. Before a camera looks for a visitor among its own persons it looks in `enrolled`
(`store.spool.recording`), so that people are known at every camera, also at those added later,
and whether the cameras share their persons or not.
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
from store.settings import ENROLLED_GALLERY
from store.uploads.image import Image

MAIN_FACE = 2.0
"""Of several faces the largest one is meant if its area is so many times that of the next."""
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to enrol."""

    path: Path
    label: str
    """How it is called in reports, and in the face's `meta`."""
    person: str | None = None
    """The name of the person in it; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture."""

    label: str
    result: Literal["taken", "known", "refused"]
    """`known`: this picture was enrolled into this gallery before."""
    reason: str = ""
    """Why it was refused, or what is doubtful about it."""
    person: str | None = None
    person_id: int | None = None
    face_id: int | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    gallery: str
    pack: str
    """The model pack that makes the facens."""
    threshold: float
    """The confidence, 0 to 1, from which two pictures show one person."""
    min_score: float = -3.0
    """Pictures of a lower quality score are refused."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A picture that was looked at: the face in it, or why there is none to take."""

    candidate: Candidate
    key: str = ""
    known: Face | None = None
    face: ExtractionFace | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    """The parts of the face's quality score."""
    image: Image | None = None
    refusal: str = ""


def candidates(folder: Path) -> list[Candidate]:
    """The pictures of a folder, and those of its sub-folders, each of which is called like a person.

    Hidden files are left out. OSError where the folder cannot be read.
    """
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inside = (path for path in sorted(entry.rglob("[!.]*")) if path.is_file())
            found += [Candidate(path, str(path.relative_to(folder)), entry.name) for path in inside]
        else:
            found.append(Candidate(entry, entry.name))
    return found


class Enrolment:
    """Enrols pictures into one gallery of one user. Can be repeated: nothing is added twice."""

    def __init__(self, ctx: Context, user: UserArgument, settings: EnrolmentSettings) -> None:
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._galleries = list(dict.fromkeys([DEFAULT_GALLERY, settings.gallery, ENROLLED_GALLERY]))
        self._persons: dict[str, int] = {}

    async def run(self, pictures: Sequence[Candidate]) -> AsyncIterator[Outcome]:
        """Takes one picture after the other; while one is stored the next one is looked at.

        StoreError where the store cannot be reached; a second run goes on from there.
        """
        for gallery in self._galleries:
            await self._ctx.galleries.ensure(self._user, gallery)
        await self._ctx.faces.catch_up(self._user, ENROLLED_GALLERY, everything=True)
        next_look: asyncio.Task[_Look] | None = None
        try:
            for number, picture in enumerate(pictures):
                look = await (next_look or self._look(picture))
                following = pictures[number + 1 : number + 2]
                next_look = asyncio.create_task(self._look(following[0])) if following else None
                yield await self._take(look)
        finally:
            if next_look is not None:
                next_look.cancel()
                await asyncio.gather(next_look, return_exceptions=True)

    async def _look(self, candidate: Candidate) -> _Look:
        try:
            for name in filter(None, (candidate.label, candidate.person)):
                checked_label(name, "the name of a picture or a person")
        except BadValueError as error:
            return _Look(candidate, refusal=str(error))
        try:
            data = await asyncio.to_thread(_read, candidate.path)
        except OSError as error:
            return _Look(candidate, refusal=f"unreadable: {error.strerror or error}")
        if len(data) > MAX_BYTES:
            return _Look(candidate, refusal=f"unreadable: larger than {MAX_BYTES // 2**20} MiB")
        key = f"enrol_{self._settings.gallery}_{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        known = await self._find(key)
        if known is not None and await self._is_whole(known):
            return _Look(candidate, key, known)
        try:
            image = Image(data, self._ctx.faces.max_pixels)
            judged = await self._ctx.extractor.judged(data)
            face = main_face([one for one, _ in judged])
            await asyncio.to_thread(image.crop, face["bbox"])
        except BadValueError as error:
            return _Look(candidate, key, refusal=f"unreadable: {error}")
        except NoMainFaceError as error:
            return _Look(candidate, key, refusal=str(error))
        if face["score"] < self._settings.min_score:
            worse = f"quality {face['score']:.2f} is below {self._settings.min_score:g}"
            return _Look(candidate, key, refusal=f"poor picture: {worse}")
        (parts,) = (quality.parts for one, quality in judged if one is face)
        return _Look(candidate, key, known, face, parts, image)

    async def _is_whole(self, face: Face) -> bool:
        """Whether an earlier run came to its end with this face."""
        return set(self._galleries) <= set(face.galleries) and not await self._ctx.faces.missing(face)

    async def _take(self, look: _Look) -> Outcome:
        candidate = look.candidate
        if look.refusal:
            return Outcome(candidate.label, "refused", look.refusal, candidate.person)
        if look.face is None or look.image is None:
            assert look.known is not None  # noqa: S101  what is not refused was found or is known
            return await self._known(candidate, look.known)
        face, doubt = look.known, ""
        if face is None:
            if (stored := await self._find(look.key)) is not None:  # the same picture twice in this folder
                return await self._known(candidate, stored)
            face = Face.from_extraction_face(look.face)
            face.update(
                sighting_id=look.key,
                meta=candidate.label,
                detector_info={
                    "pack": self._settings.pack,
                    "enrolled": self._settings.gallery,
                    "quality": {name: round(value, 4) for name, value in look.quality.items()},
                },
            )
            face["person_id"], doubt = await self._person(candidate.person, face)
            try:
                face = await self._ctx.faces.add(self._user, face)
            except ConflictError:  # another process enrols it in this moment
                return await self._known(candidate, await self._stored(look.key))
        await self._ctx.faces.complete_galleries(face, self._galleries)
        face.normalized = look.face["normalized"]
        await self._ctx.faces.upload(face, look.image)
        return Outcome(candidate.label, "taken", doubt, candidate.person, face["person_id"], face["_id"])

    async def _find(self, key: str) -> Face | None:
        return await self._ctx.faces.find_one(self._user, {"sighting_id": key})

    async def _stored(self, key: str) -> Face:
        face = await self._find(key)
        if face is None:
            raise ConflictError(f"the enrolled face {key} was removed in this moment; enrol again")
        return face

    async def _known(self, candidate: Candidate, face: Face) -> Outcome:
        person_id = face.get("person_id")
        name = await self._name_of(person_id)
        if candidate.person is not None and name != candidate.person:
            reason = f"the same picture is enrolled as {name or f'person {person_id}'}"
            return Outcome(candidate.label, "refused", reason, candidate.person)
        return Outcome(candidate.label, "known", "", name, person_id, face["_id"])

    async def _person(self, name: str | None, face: Face) -> tuple[int, str]:
        """The person of a face, made where there is none yet, and what is doubtful about it."""
        match = await self._ctx.persons.resolve(
            self._user, face, ENROLLED_GALLERY, self._settings.threshold, create=name is None
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
    """A picture without a face that is clearly the one that is meant."""


def main_face(faces: Sequence[ExtractionFace]) -> ExtractionFace:
    """The face that a picture is of. NoMainFaceError where there is none, or none stands out."""
    if not faces:
        raise NoMainFaceError("no face found")
    largest, *others = sorted(faces, key=lambda face: -face["bbox"].area)
    if others and largest["bbox"].area < MAIN_FACE * others[0]["bbox"].area:
        raise NoMainFaceError(f"{len(faces)} faces, none clearly the main one; cut one out")
    return largest


def _read(path: Path) -> bytes:
    if not path.is_file():  # a pipe would keep us waiting for ever
        raise OSError("no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
