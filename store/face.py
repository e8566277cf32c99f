"""One face, two views: the document in MongoDB, and the face object of the context."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pipeline.facen import FacenError, decode
from pipeline.types import Facen, Rectangle
from store.errors import BadValueError
from store.face_fields import CORNERS, check_fields
from store.guard import checked_id
from store.model_store import Model, storable

ALIASES = {"id": "_id", "galleries": "gallery"}
"""Keys of the face object and the document's fields they stand for; `bbox` stands for four of them."""
SPECIAL = frozenset({*ALIASES, "bbox", "normalized", "emotions", "timestamp"})
"""Keys that are not simply kept; all others take the short way, which every document found goes."""


class Face(Model):
    """A face.

    As a dictionary it holds the document: `_id, owner, facen, x1, y1, x2, y2, photo_hash,
    gallery, meta, score, person_id, cam_id, friend, timestamp` (a time, UTC) and what else is
    known. The face object's own keys `id`, `bbox` and `galleries` read and write the same
    fields, and a `timestamp` may be given as ISO 8601 text. `as_object()` gives the face object
    alone, with `timestamp` as such text.

    `normalized` is the URL of the aligned face once it is known; until then `face["normalized"]`
    and `face.normalized` are its PNG bytes, which never go into the document.
    """

    _png: bytes | None = None

    @classmethod
    def wrapping(cls, document: Mapping[str, Any]) -> Self:
        """The face of a document. As `Face(document)`, in a third of the time: searches find many."""
        face = cls()
        put = OrderedDict.__setitem__
        for key, value in document.items():
            if key in SPECIAL:
                face[key] = value
            else:
                put(face, key, value)
        return face

    @classmethod
    def from_extraction_face(cls, eface: Mapping[str, Any]) -> Self:
        """A face object out of the data of one face from `ctx.extractor.extract()`.

        Raises:
            BadValueError: a key that every ExtractionFace has is missing or of a wrong type.
        """
        if not isinstance(eface, Mapping):
            raise BadValueError(f"an extraction face is a mapping, not {type(eface).__name__}")
        if missing := {"bbox", "score", "photo_hash"} - eface.keys():
            raise BadValueError(f"an extraction face has the key {', '.join(sorted(missing))}")
        face = cls()
        face.update(
            {key: value for key, value in eface.items() if key not in {"emotions", "normalized", "bbox"}}
        )
        face["bbox"] = eface["bbox"]
        if eface.get("normalized") is not None:
            face["normalized"] = eface["normalized"]
        if eface.get("emotions") is not None:
            face["emotions"] = _prevalent(eface["emotions"])
        face.setdefault("timestamp", _now())
        face.setdefault("meta", None)
        face.setdefault("gallery", [])
        return face

    @property
    def id(self) -> int | None:
        key = OrderedDict.get(self, "_id")
        return None if key is None else int(key)

    @property
    def bbox(self) -> Rectangle | None:
        """The face's region in the photo, in pixels; None where the document has none."""
        if not all(corner in self for corner in CORNERS):
            return None
        return Rectangle(self["x1"], self["y1"], self["x2"], self["y2"])

    @property
    def galleries(self) -> list[str]:
        return list(OrderedDict.get(self, "gallery") or [])

    @property
    def normalized(self) -> bytes | None:
        """The aligned face, PNG; None where only its URL is known, `face["normalized"]`."""
        return self._png

    @normalized.setter
    def normalized(self, png: bytes | None) -> None:
        self._png = png

    def vector(self, size: int | None = None) -> Facen:
        """The facen as numbers. BadValueError where there is none, or none of this size."""
        return facen_of(self, size)

    def as_object(self) -> OrderedDict[str, Any]:
        """The face object: the keys that the context promises, and those of them alone that have a value."""
        timestamp = OrderedDict.get(self, "timestamp")
        view: OrderedDict[str, Any] = OrderedDict(id=self.id, bbox=self.bbox)
        for key in ("facen", "gender", "age", "emotions", "normalized", "score"):
            view[key] = self.get(key)
        view["timestamp"] = timestamp.isoformat() if isinstance(timestamp, datetime) else timestamp
        for key in ("photo", "photo_hash", "thumbnail", "meta"):
            view[key] = self.get(key)
        view["galleries"] = self.galleries
        return OrderedDict((key, value) for key, value in view.items() if value is not None)

    def document(self) -> dict[str, Any]:
        """What MongoDB holds. BadValueError names what is wrong with the face."""
        return storable(OrderedDict(self.items()))

    def __missing__(self, key: str) -> Any:  # noqa: ANN401  as wide as the dictionary's own values
        if key in ALIASES and ALIASES[key] in self:
            return self[ALIASES[key]]
        if key == "bbox" and (box := self.bbox) is not None:
            return box
        if key == "normalized" and self._png is not None:
            return self._png
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return OrderedDict.__contains__(self, key) or (
            (key in ALIASES and OrderedDict.__contains__(self, ALIASES[str(key)]))
            or (key == "bbox" and self.bbox is not None)
            or (key == "normalized" and self._png is not None)
        )

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  as the dictionary's own
        return self[key] if key in self else default  # noqa: SIM401  the dictionary's get knows no other names

    def pop(self, key: str, *default: Any) -> Any:  # noqa: ANN401  as the dictionary's own
        if key not in self:
            return OrderedDict.pop(self, key, *default)
        value = self[key]
        del self[key]
        return value

    def copy(self) -> Self:
        """A face of its own with the same fields, the aligned face too."""
        twin = type(self)(self)
        twin.normalized = self._png
        return twin

    def __delitem__(self, key: str) -> None:
        if key == "bbox" and self.bbox is not None:
            for corner in CORNERS:
                OrderedDict.__delitem__(self, corner)
        elif key == "normalized" and self._png is not None:
            self._png = None
            OrderedDict.pop(self, key, None)
        else:
            OrderedDict.__delitem__(self, ALIASES.get(key, key))

    def __setitem__(self, key: str, value: Any) -> None:  # noqa: ANN401  as wide as the dictionary's own values
        if key not in SPECIAL:
            OrderedDict.__setitem__(self, key, value)
        elif key == "bbox":
            for corner, side in zip(CORNERS, checked_bbox(value), strict=True):
                OrderedDict.__setitem__(self, corner, side)
        elif key == "normalized" and isinstance(value, bytes):
            self._png = value
        elif key == "emotions" and isinstance(value, list):
            OrderedDict.__setitem__(
                self, key, tuple(value)
            )  # MongoDB's lists are lists; these two are a tuple
        elif key == "timestamp" and isinstance(value, str):
            OrderedDict.__setitem__(self, key, _moment(value))
        else:
            OrderedDict.__setitem__(self, ALIASES.get(key, key), value)


def facen_of(face: Mapping[str, Any], size: int | None = None) -> Facen:
    """The facen of a face or extraction face, normalised."""
    if not isinstance(face, Mapping):
        raise BadValueError(f"a face is a mapping with a facen, not {type(face).__name__}")
    text = face.get("facen")
    if text is None:
        raise BadValueError("this face has no facen; extract it first")
    try:
        return decode(text, size)
    except FacenError as error:
        raise BadValueError(str(error)) from error


def checked_bbox(value: object) -> Rectangle:
    """Left, top, right and bottom as finite numbers."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 4:
        sides = [
            float(side) for side in value if isinstance(side, (int, float)) and not isinstance(side, bool)
        ]
        if len(sides) == 4 and all(map(math.isfinite, sides)):
            return Rectangle(*sides)
    raise BadValueError(f"a bbox is left, top, right and bottom as finite numbers, not {value!r:.80}")


def check_face(face: object, facen_size: int | None) -> None:
    """BadValueError where a face cannot be stored as it is."""
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
    check_fields(face)


def _prevalent(emotions: object) -> tuple[str, ...]:
    """The two most probable ones' names, the most probable first."""
    if isinstance(emotions, tuple) and hasattr(emotions, "_asdict"):
        chances: Mapping[str, float] = emotions._asdict()
        return tuple(sorted(chances, key=lambda name: -chances[name])[:2])
    raise BadValueError(f"emotions are a named tuple of probabilities, not {type(emotions).__name__}")


def _moment(text: str) -> datetime:
    """The time behind ISO 8601 text; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadValueError(f"a face's timestamp is a time or ISO 8601 text, not {text!r:.80}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _now() -> datetime:
    """The present with MongoDB's milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
