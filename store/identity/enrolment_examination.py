"""Examines pictures before their enrolment: which face is enrolled, and whether it is good enough."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.types import ExtractionFace, Facen
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError
from store.face import Face
from store.face_fields import usable_facen
from store.identity.enrolment_folder import EnrolmentPicture
from store.mongo.guard import checked_label
from store.recognition.thresholds import Threshold
from store.uploads.image import Image

MAIN_FACE_RATIO = 2.0
"""Minimum ratio of the largest face's area to the next, for it to be the main face."""
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    gallery: str
    pack: str
    """The model pack of the facens."""
    threshold: Threshold
    """Minimum confidence, 0 to 1, of a match."""
    min_score: float = -3.0
    """Minimum quality score."""
    alike: float = 0.7
    """Minimum confidence between pictures of one person; see `store.identity.enrolment.unlike_others`."""
    confirmed: bool = False
    """Whether to enrol pictures that are unlike the others of their person."""
    certain: float = 0.9
    """Minimum confidence of a single reference at which a nameless person is merged into an enrolled one."""
    move: bool = False
    """Whether to move a picture that is enrolled as another person to the person of its folder."""


@dataclass(frozen=True, slots=True)
class ExaminedPicture:
    """An examined picture: its face, or the reason why it is refused."""

    picture: EnrolmentPicture
    key: str = ""
    known: Face | None = None
    face: ExtractionFace | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    """The components of the face's quality score."""
    refusal: str = ""
    doubt: str = ""
    """Why the picture may show another person than its folder says."""

    @property
    def facen(self) -> Facen | None:
        """The normalised facen; None for a refused picture."""
        if self.known is not None:
            return usable_facen(self.known)
        return None if self.face is None else Face.from_extraction_face(self.face).vector()


class PictureExaminer:
    """Finds the main face of a picture, unless the picture is already enrolled."""

    def __init__(
        self, ctx: Context, user: UserArgument, settings: EnrolmentSettings, galleries: Sequence[str]
    ) -> None:
        """`galleries`: the galleries of an enrolled face."""
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._galleries = galleries

    async def examine(self, picture: EnrolmentPicture) -> ExaminedPicture:
        """Examine a picture; an unusable one gets a refusal. StoreError if MongoDB does not answer."""
        try:
            for name in filter(None, (picture.label, picture.person)):
                checked_label(name, "the name of a picture or a person")
        except BadValueError as error:
            return ExaminedPicture(picture, refusal=str(error))
        try:
            data = await asyncio.to_thread(read_picture, picture.path)
        except OSError as error:
            return ExaminedPicture(picture, refusal=f"unreadable: {error.strerror or error}")
        if len(data) > MAX_BYTES:
            return ExaminedPicture(picture, refusal=f"unreadable: larger than {MAX_BYTES // 2**20} MiB")
        key = f"enrol_{self._settings.gallery}_{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        known = await self.find(key)
        if known is not None and await self._is_whole(known):
            return ExaminedPicture(picture, key, known)
        try:
            original = Image(data, self._ctx.faces.max_pixels)
            faces = await self._ctx.extractor.extract_with_quality(data)
            face = main_face([found for found, _ in faces])
            await asyncio.to_thread(original.crop, face["bbox"])
        except BadValueError as error:
            return ExaminedPicture(picture, key, refusal=f"unreadable: {error}")
        except NoMainFaceError as error:
            return ExaminedPicture(picture, key, refusal=str(error))
        if face["score"] < self._settings.min_score:
            worse = f"quality {face['score']:.2f} is below {self._settings.min_score:g}"
            return ExaminedPicture(picture, key, refusal=f"poor picture: {worse}")
        (parts,) = (quality.parts for found, quality in faces if found is face)
        return ExaminedPicture(picture, key, known, face, parts)

    async def _is_whole(self, face: Face) -> bool:
        """Whether an earlier run completed this face."""
        return set(self._galleries) <= set(face.galleries) and not await self._ctx.faces.missing(face)

    async def find(self, key: str) -> Face | None:
        """The enrolled face of the picture with this key, or None."""
        return await self._ctx.faces.find_one(self._user, {"sighting_id": key})


class NoMainFaceError(Exception):
    """The picture has no face that is clearly the main one."""


def main_face(faces: Sequence[ExtractionFace]) -> ExtractionFace:
    """The main face of a picture. NoMainFaceError if there is no face, or none stands out."""
    if not faces:
        raise NoMainFaceError("no face found")
    largest, *others = sorted(faces, key=lambda face: -face["bbox"].area)
    if others and largest["bbox"].area < MAIN_FACE_RATIO * others[0]["bbox"].area:
        raise NoMainFaceError(f"{len(faces)} faces, none clearly the main one; cut one out")
    return largest


def read_picture(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe would block for ever
        raise OSError("no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
