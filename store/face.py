"""`Face`: the document in MongoDB, and the face object of the context, in one class."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pipeline.types import Facen
from store.errors import BadValueError
from store.face_fields import CORNERS, check_fields, checked_bbox, facen_of
from store.face_mapping import FaceMapping
from store.mongo.documents import storable
from store.mongo.guard import checked_id


class Face(FaceMapping):
    """A face.

    As a dictionary it is the face object: its keys are `id, bbox, facen, gender, age, emotions, normalized,
    score, timestamp, photo, photo_hash, thumbnail, meta, galleries`, if they have a value, and the document's
    other fields, such as `owner`, `person_id` and `cam_id`. The fields `_id`, `gallery` and `x1, y1, x2, y2`
    are available under both names (`FaceMapping`). `document()` is what MongoDB stores.

    `face["normalized"]` is the aligned face as PNG bytes until `ServerFaces.upload` has stored them, then
    their URL. `face.normalized` is the bytes if they are known. The bytes are never part of the document.
    """

    has_new_links: bool = False
    """Whether picture URLs were replaced since the document was stored."""

    @classmethod
    def from_extraction_face(cls, eface: Mapping[str, Any]) -> Self:
        """A face object from the data of one face of `ctx.extractor.extract()`.

        Raises:
            BadValueError: a key that every ExtractionFace has is missing or of a wrong type.
        """
        if not isinstance(eface, Mapping):
            raise BadValueError(f"an extraction face is a mapping, not {type(eface).__name__}")
        if missing := {"bbox", "score", "photo_hash"} - eface.keys():
            raise BadValueError(f"an extraction face has the key {', '.join(sorted(missing))}")
        face = cls()
        face.update({key: value for key, value in eface.items() if key not in {"emotions", "normalized"}})
        if eface.get("normalized") is not None:
            face["normalized"] = eface["normalized"]
        if eface.get("emotions") is not None:
            face["emotions"] = _prevalent(eface["emotions"])
        face.setdefault("timestamp", _now())
        face.setdefault("meta", None)
        face.setdefault("gallery", [])
        return face

    @property
    def galleries(self) -> list[str]:
        return list(OrderedDict.get(self, "gallery") or [])

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the face's pictures, by field. Pictures without a URL are left out."""
        urls = {field: OrderedDict.get(self, field) for field in ("photo", "normalized", "thumbnail")}
        if self._url is not None:
            urls["normalized"] = self._url
        return {field: url for field, url in urls.items() if isinstance(url, str)}

    def link(self, urls: Mapping[str, str]) -> None:
        """Set the URLs of pictures. The key `normalized` keeps the bytes of an aligned face that is not
        uploaded."""
        for field, url in urls.items():
            if field == "normalized" and self._shows_png:
                self._url = url
            else:
                OrderedDict.__setitem__(self, field, url)

    def vector(self, size: int | None = None) -> Facen:
        """The facen as an array. BadValueError if it is missing or of another size."""
        return facen_of(self, size)

    def as_object(self) -> OrderedDict[str, Any]:
        """The face object without other fields: the keys of the contract that have a value."""
        keys = ("id", "bbox", "facen", "gender", "age", "emotions", "normalized", "score", "timestamp")
        view = OrderedDict(
            (key, self.get(key)) for key in (*keys, "photo", "photo_hash", "thumbnail", "meta")
        )
        view["galleries"] = self.galleries
        return OrderedDict((key, value) for key, value in view.items() if value is not None)

    def document(self) -> dict[str, Any]:
        """What MongoDB stores. BadValueError for a value that cannot be stored."""
        return storable(self.fields())

    def normalize_values(self) -> None:
        """Round each value as MongoDB does, such as times to milliseconds."""
        for field, value in self.document().items():
            if field != "normalized":
                self[field] = value


def check_face(face: object, facen_size: int | None) -> None:
    """BadValueError if a face cannot be stored."""
    if not isinstance(face, Face):
        raise BadValueError(
            f"a face is a Faces.Model, made with from_extraction_face, not {type(face).__name__}"
        )
    if "_id" in face:
        checked_id(face["_id"], "face")
    if any(corner in face for corner in CORNERS):
        checked_bbox([face.get(corner) for corner in CORNERS])
    if face.get("facen") is not None:
        facen_of(face, facen_size)
    check_fields(face.fields())


def _prevalent(emotions: object) -> tuple[str, ...]:
    """The names of the two most probable emotions, the most probable first."""
    if isinstance(emotions, tuple) and hasattr(emotions, "_asdict"):
        probabilities: Mapping[str, float] = emotions._asdict()
        return tuple(sorted(probabilities, key=lambda name: -probabilities[name])[:2])
    raise BadValueError(f"emotions are a named tuple of probabilities, not {type(emotions).__name__}")


def _now() -> datetime:
    """The current time, truncated to milliseconds as in MongoDB."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
