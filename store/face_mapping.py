"""The dictionary interface of a face: the keys of the face object, over the fields of the document."""

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from pipeline.types import Rectangle
from store.face_fields import ALIASES, CORNERS, checked_bbox, parse_timestamp
from store.mongo.documents import Model

FIRST_CORNER, *OTHER_CORNERS = CORNERS
SHOWN = {field: key for key, field in ALIASES.items()} | {FIRST_CORNER: "bbox"}
"""The keys under which the face object shows fields of the document."""
CONVERTED = frozenset({*ALIASES, "bbox", "normalized", "emotions", "timestamp"})
"""Keys whose values `__setitem__` converts."""


class PictureUrl(str):
    """The URL of an aligned face, with its PNG bytes if they are known."""

    png: bytes | None

    @classmethod
    def with_png(cls, url: str, png: bytes | None) -> Self:
        text = cls(url)
        text.png = png
        return text


class Timestamp(str):
    """A time as ISO 8601 text."""

    moment: datetime

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """Times without a zone are UTC, as in MongoDB's driver."""
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        text = cls(aware.isoformat())
        text.moment = aware
        return text


class FaceMapping(Model):
    """A dictionary of a face, with two names for some values.

    Iteration has the keys of the face object: `id`, `galleries` and `bbox` instead of the document's `_id`,
    `gallery` and `x1, y1, x2, y2`. Either name reads, writes and deletes the value.

    `normalized` is the aligned face as PNG bytes until they are uploaded, and their URL afterwards.
    `timestamp` is ISO 8601 text; either text or a datetime may be assigned.
    """

    _png: bytes | None = None
    _url: str | None = None
    """The URL of the aligned face while the key `normalized` has the bytes."""

    @classmethod
    def wrapping(cls, document: Mapping[str, Any]) -> Self:
        """The face of a document. Faster than the constructor, because a search wraps thousands."""
        face = cls()
        put = OrderedDict.__setitem__
        for key, value in document.items():
            if key in CONVERTED:
                face[key] = value
            else:
                put(face, key, value)
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
    def timestamp(self) -> datetime | None:
        """The value of the key `timestamp` as a datetime; None without one."""
        text = OrderedDict.get(self, "timestamp")
        return text.moment if isinstance(text, Timestamp) else None

    @property
    def normalized(self) -> bytes | None:
        """The aligned face, PNG; None where only its URL is known."""
        return self._png

    @normalized.setter
    def normalized(self, png: bytes | None) -> None:
        if png is None:
            self.mark_uploaded()
        elif self._holds("normalized"):
            url = OrderedDict.pop(self, "normalized")
            self._url = url if isinstance(url, str) else None
        self._png = png

    def mark_uploaded(self) -> None:
        """Make the key `normalized` the URL instead of the bytes."""
        if self._url is not None:
            self["normalized"] = self._url

    def fields(self) -> dict[str, Any]:
        """The document's fields, unchecked."""
        fields = dict(OrderedDict.items(self))
        if isinstance(text := fields.get("timestamp"), Timestamp):
            fields["timestamp"] = text.moment
        if self._url is not None:
            fields["normalized"] = self._url
        return fields

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
        if isinstance(other, FaceMapping):
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
        """A copy, including the PNG bytes."""
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
            moment = parse_timestamp(value) if isinstance(value, str) else value
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
        """Whether the key `normalized` has the PNG bytes."""
        return self._png is not None and not self._holds("normalized")

    def _holds(self, field: object) -> bool:
        """Whether the document has the field."""
        return OrderedDict.__contains__(self, field)


_F = TypeVar("_F", bound=FaceMapping)


def _restored(kind: type[_F], fields: Mapping[str, Any], png: bytes | None, shows_png: bool) -> _F:
    face = kind.wrapping(fields)
    if shows_png:
        face.normalized = png
    else:
        face._png = png
    return face


def _short(data: bytes) -> str:
    return f"<{len(data)} bytes>"
