"""One face, two views: the document in MongoDB, and the face object of the context."""

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from pipeline.types import Facen, Rectangle
from store.errors import BadValueError
from store.face_fields import ALIASES, CORNERS, check_fields, checked_bbox, facen_of, moment_of
from store.mongo.guard import checked_id
from store.mongo.model_store import Model, storable

FIRST_CORNER, *OTHER_CORNERS = CORNERS
SHOWN = {field: key for key, field in ALIASES.items()} | {FIRST_CORNER: "bbox"}
"""The keys under which the face object shows fields of the document."""
CONVERTED = frozenset({*ALIASES, "bbox", "normalized", "emotions", "timestamp"})
"""Keys whose values are converted when they are set."""


class PictureUrl(str):
    """The URL of an aligned face, beside the PNG bytes that it replaced in a dictionary."""

    png: bytes | None

    @classmethod
    def with_png(cls, url: str, png: bytes | None) -> Self:
        made = cls(url)
        made.png = png
        return made


class Timestamp(str):
    """A time as ISO 8601 text."""

    moment: datetime

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """A time without a zone is UTC, as to MongoDB's driver."""
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        text = cls(aware.isoformat())
        text.moment = aware
        return text


class Face(Model):
    """A face.

    As a dictionary it is the face object: its keys are `id, bbox, facen, gender, age, emotions,
    normalized, score, timestamp, photo, photo_hash, thumbnail, meta, galleries`, as far as they have a
    value, and the document's other fields, such as `owner`, `person_id` and `cam_id`. A timestamp is
    ISO 8601 text; `face.timestamp` is the time itself, and either may be assigned.

    The names of the document's fields `_id`, `gallery` and `x1, y1, x2, y2` read, write and delete the
    same values, but iteration does not repeat them. `document()` is what MongoDB holds.

    `face["normalized"]` is the aligned face as PNG bytes, from when they are assigned until
    `ServerFaces.upload` has stored them; then it is their URL. `face.normalized` is the bytes as long as
    they are known. They are never part of the document.
    """

    _png: bytes | None = None
    _url: str | None = None
    """The URL of the aligned face while its key shows the bytes."""
    has_new_links: bool = False
    """Whether URLs of pictures were replaced, and its document may have others."""

    @classmethod
    def wrapping(cls, document: Mapping[str, Any]) -> Self:
        """The face of a document. Faster than `Face(document)`: a search wraps thousands."""
        face = cls()
        put = OrderedDict.__setitem__
        for key, value in document.items():
            if key in CONVERTED:
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
    def id(self) -> int | None:
        key = OrderedDict.get(self, "_id")
        return None if key is None else int(key)

    @property
    def bbox(self) -> Rectangle | None:
        """The face's region in the photo, in pixels; None where the document has none."""
        if not all(map(self._holds, CORNERS)):
            return None
        return Rectangle(self["x1"], self["y1"], self["x2"], self["y2"])

    @property
    def galleries(self) -> list[str]:
        return list(OrderedDict.get(self, "gallery") or [])

    @property
    def timestamp(self) -> datetime | None:
        """The time of the key `timestamp`; None where there is none."""
        text = OrderedDict.get(self, "timestamp")
        return text.moment if isinstance(text, Timestamp) else None

    @property
    def normalized(self) -> bytes | None:
        """The aligned face, PNG; None where only its URL is known, `face["normalized"]`."""
        return self._png

    @normalized.setter
    def normalized(self, png: bytes | None) -> None:
        if png is None:
            self.mark_uploaded()
        elif self._holds("normalized"):
            url = OrderedDict.pop(self, "normalized")
            self._url = url if isinstance(url, str) else None
        self._png = png

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the face's pictures, of those that have one."""
        held = {field: OrderedDict.get(self, field) for field in ("photo", "normalized", "thumbnail")}
        if self._url is not None:
            held["normalized"] = self._url
        return {field: url for field, url in held.items() if isinstance(url, str)}

    def link(self, urls: Mapping[str, str]) -> None:
        """Sets the URLs of pictures; an aligned face that is not uploaded yet stays what the key shows."""
        for field, url in urls.items():
            if field == "normalized" and self._shows_png:
                self._url = url
            else:
                OrderedDict.__setitem__(self, field, url)

    def mark_uploaded(self) -> None:
        """From now on `face["normalized"]` is the URL."""
        if self._url is not None:
            self["normalized"] = self._url

    def vector(self, size: int | None = None) -> Facen:
        """The facen as numbers. BadValueError where there is none, or none of this size."""
        return facen_of(self, size)

    def as_object(self) -> OrderedDict[str, Any]:
        """The face object alone: the keys that the context promises, as far as they have a value."""
        promised = ("id", "bbox", "facen", "gender", "age", "emotions", "normalized", "score", "timestamp")
        view = OrderedDict(
            (key, self.get(key)) for key in (*promised, "photo", "photo_hash", "thumbnail", "meta")
        )
        view["galleries"] = self.galleries
        return OrderedDict((key, value) for key, value in view.items() if value is not None)

    def fields(self) -> dict[str, Any]:
        """The document's fields, as they are held."""
        fields = dict(OrderedDict.items(self))
        if isinstance(text := fields.get("timestamp"), Timestamp):
            fields["timestamp"] = text.moment
        if self._url is not None:
            fields["normalized"] = self._url
        return fields

    def document(self) -> dict[str, Any]:
        """What MongoDB holds. BadValueError names what is wrong with the face."""
        return storable(self.fields())

    def settle(self) -> None:
        """Replaces each value by what MongoDB gives back for it, such as a time by one in milliseconds."""
        for field, value in self.document().items():
            if field != "normalized":
                self[field] = value

    def __missing__(self, key: str) -> Any:  # noqa: ANN401  as wide as the dictionary's own values
        if key in ALIASES and self._holds(ALIASES[key]):
            return self[ALIASES[key]]
        if key == "bbox" and (box := self.bbox) is not None:
            return box
        if key == "normalized" and self._png is not None:
            return self._png
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return (
            self._holds(ALIASES.get(key, key) if isinstance(key, str) else key)
            or (key == "bbox" and self.bbox is not None)
            or (key == "normalized" and self._png is not None)
        )

    def __iter__(self) -> Iterator[str]:
        hidden = OTHER_CORNERS if self.bbox is not None else ()
        for field in OrderedDict.__iter__(self):
            if field not in hidden and (field != FIRST_CORNER or hidden):
                yield SHOWN.get(field, field)
            elif field == FIRST_CORNER:
                yield field
        if self._shows_png:
            yield "normalized"

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        """Faces are equal if their documents are; another mapping is compared with the face object."""
        if isinstance(other, Face):
            return self.fields() == other.fields()
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # as every dictionary

    def __repr__(self) -> str:
        shown = {key: _short(value) if isinstance(value, bytes) else value for key, value in self.items()}
        return f"Faces.Model({shown!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.fields(), self._png, self._shows_png)

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # a view of the face object
        return KeysView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # a view of the face object
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # a view of the face object
        return ItemsView(self)

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  as the dictionary's own
        return self[key] if key in self else default  # noqa: SIM401  the dictionary's get knows no other names

    def pop(self, key: str, *default: Any) -> Any:  # noqa: ANN401  as the dictionary's own
        if key not in self:
            return OrderedDict.pop(self, key, *default)
        value = self[key]
        del self[key]
        return value

    def popitem(self, last: bool = True) -> tuple[str, Any]:
        keys = list(self)
        if not keys:
            raise KeyError("the face is empty")
        key = keys[-1 if last else 0]
        return key, self.pop(key)

    def move_to_end(self, key: str, last: bool = True) -> None:
        for field in CORNERS if key == "bbox" else (ALIASES.get(key, key),):
            OrderedDict.move_to_end(self, field, last)

    def clear(self) -> None:
        OrderedDict.clear(self)
        self._png = self._url = None

    def copy(self) -> Self:
        """A face of its own with the same fields, the aligned face too."""
        return _restored(type(self), self.fields(), self._png, self._shows_png)

    def __delitem__(self, key: str) -> None:
        if key == "bbox" and self.bbox is not None:
            for corner in CORNERS:
                OrderedDict.__delitem__(self, corner)
        elif key == "normalized" and self._png is not None:
            self._png = self._url = None
            OrderedDict.pop(self, key, None)
        else:
            OrderedDict.__delitem__(self, ALIASES.get(key, key))

    def __setitem__(self, key: str, value: Any) -> None:  # noqa: ANN401  as wide as the dictionary's own values
        if key not in CONVERTED:
            OrderedDict.__setitem__(self, key, value)
        elif key == "bbox":
            for corner, side in zip(CORNERS, checked_bbox(value), strict=True):
                OrderedDict.__setitem__(self, corner, side)
        elif key == "normalized":
            self._set_normalized(value)
        elif key == "emotions" and isinstance(value, list):
            OrderedDict.__setitem__(self, key, tuple(value))  # MongoDB has lists only
        elif key == "timestamp" and isinstance(value, str | datetime):
            moment = moment_of(value) if isinstance(value, str) else value
            OrderedDict.__setitem__(self, key, Timestamp.at(moment))
        else:
            OrderedDict.__setitem__(self, ALIASES.get(key, key), value)

    def _set_normalized(self, value: object) -> None:
        if isinstance(value, bytes):
            self.normalized = value
            return
        if isinstance(value, PictureUrl):
            self._png, value = value.png, str(value)
        OrderedDict.__setitem__(self, "normalized", value)
        self._url = None

    @property
    def _shows_png(self) -> bool:
        """Whether the aligned face is what the key `normalized` shows."""
        return self._png is not None and not self._holds("normalized")

    def _holds(self, field: object) -> bool:
        """Whether the document has the field."""
        return OrderedDict.__contains__(self, field)


_F = TypeVar("_F", bound=Face)


def _restored(kind: type[_F], fields: Mapping[str, Any], png: bytes | None, shows_png: bool) -> _F:
    face = kind.wrapping(fields)
    if shows_png:
        face.normalized = png
    else:
        face._png = png
    return face


def _short(data: bytes) -> str:
    return f"<{len(data)} bytes>"


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
    check_fields(face.fields())


def _prevalent(emotions: object) -> tuple[str, ...]:
    """The two most probable ones' names, the most probable first."""
    if isinstance(emotions, tuple) and hasattr(emotions, "_asdict"):
        chances: Mapping[str, float] = emotions._asdict()
        return tuple(sorted(chances, key=lambda name: -chances[name])[:2])
    raise BadValueError(f"emotions are a named tuple of probabilities, not {type(emotions).__name__}")


def _now() -> datetime:
    """The present with MongoDB's milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
