"""The schemas of documents, on which every reader relies.

A document written by another program, or restored from a damaged dump, may have any shape. `store.mongo.gate`
adds these conditions to every read, so that no reader sees a malformed document; `store.mongo.malformed`
counts and logs the hidden ones. Fields that no code computes with are not checked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.int64 import Int64

Document = dict[str, Any]

WHOLE = ("int", "long")
NUMBER = ("int", "long", "double")
FIRST_TIME = datetime(1, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
"""The range of Python's datetime; MongoDB's is wider."""
HIGHEST_VERSION = 999
"""Upper bound of `schema`, which counts versions of this program."""


@dataclass(frozen=True, slots=True)
class Field:
    """The types and bounds of a field, with MongoDB's names of types."""

    types: tuple[str, ...]
    expected: str
    """The type in words, for messages."""
    required: bool = False
    least: int | None = None
    most: int | None = None
    items: "Field | None" = None
    inside: "Mapping[str, Field] | None" = None
    pattern: str | None = None
    """A regular expression with the same meaning in MongoDB and Python."""


def _optional(field: Field) -> Field:
    return Field(
        (*field.types, "null"), field.expected, False, field.least, field.most, field.items, field.inside
    )


ID = Field(WHOLE, "a whole number from 0", required=True, least=0)
OBJECT_ID = Field(("objectId",), "an ObjectId", required=True)
TEXT = Field(("string",), "text", required=True)
TIME = Field(("date",), "a time in the years 1 to 9999", required=True)
TRUTH = Field(("bool",), "true or false", required=True)
MAPPING = Field(("object",), "a mapping", required=True)
A_NUMBER = Field(NUMBER, "a number", required=True)
NAMES = Field(("array",), "a list of names", required=True, items=TEXT)
IDS = Field(("array",), "a list of whole numbers from 0", required=True, items=ID)
ROLE = Field(
    ("string",),
    "admin, operator, viewer or auditor",
    required=True,
    pattern="^(admin|operator|viewer|auditor)$",
)
VERSION = Field(WHOLE, "a version number", least=0, most=HIGHEST_VERSION)

PICTURE_KEY = Field(
    ("string",),
    "the key of a picture below its owner's folder",
    required=True,
    pattern=r"^(?=.{1,1024}$)[0-9a-f]{24}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199})+$(?!\n)",
)

PROVISIONAL = "founding"
"""The field that marks a provisional person, which `identify` has created and whose first face is not stored
yet."""

SHAPES: Mapping[str, Mapping[str, Field]] = {
    "users": {"_id": OBJECT_ID, "token": TEXT, "schema": VERSION},
    "galleries": {"owner": OBJECT_ID, "name": TEXT, "schema": VERSION},
    "cameras": {"owner": OBJECT_ID, "id": TEXT, "schema": VERSION},
    "counters": {"_id": TEXT, "seq": Field(WHOLE, "a whole number", required=True), "schema": VERSION},
    "faces": {
        "_id": ID,
        "owner": OBJECT_ID,
        "gallery": Field(NAMES.types, NAMES.expected, items=TEXT),  # not null, to which MongoDB adds nothing
        "facen": _optional(TEXT),
        "person_id": _optional(ID),
        "person_changes": _optional(IDS),
        "timestamp": _optional(TIME),
        "detector_info": Field(
            ("object", "null"), "a mapping with text as its pack", inside={"pack": _optional(TEXT)}
        ),
        "score": _optional(A_NUMBER),
        **dict.fromkeys(("x1", "y1", "x2", "y2"), _optional(A_NUMBER)),
        **dict.fromkeys(("cam_id", "sighting_id", "photo_hash"), _optional(TEXT)),
        **dict.fromkeys(("photo", "thumbnail", "normalized"), _optional(TEXT)),
        "schema": VERSION,
    },
    "persons": {
        "_id": ID,
        "owner": OBJECT_ID,
        "name": _optional(TEXT),
        "created": _optional(TIME),
        "faceless_since": _optional(TIME),
        "sighting_id": _optional(TEXT),
        PROVISIONAL: Field(("object",), "a mapping with a facen", inside={"facen": TEXT}),
        "schema": VERSION,
    },
    "visits": {
        **dict.fromkeys(("_id", "id", "cam_id"), TEXT),
        "owner": OBJECT_ID,
        **dict.fromkeys(("start", "end"), TIME),
        **dict.fromkeys(("faces", "best_face", "revision"), ID),
        "quality": _optional(A_NUMBER),
        "confidence": _optional(A_NUMBER),
        "person_id": _optional(ID),
        "persons": IDS,
        **dict.fromkeys(("named", "friend", "reviewed"), TRUTH),
        **dict.fromkeys(("outcome", "reason", "reviewed_by"), _optional(TEXT)),
        "reviewed_at": _optional(TIME),
        "co_visible": NAMES,
    },
    "person_changes": {
        "_id": ID,
        "owner": OBJECT_ID,
        "kind": TEXT,
        "person": ID,
        "other": Field((*WHOLE, "null"), "a whole number from 0, or null", required=True, least=0),
        "at": TIME,
        "by": TEXT,
        "state": TEXT,
        "name": _optional(TEXT),
        "document": Field(("object",), "a mapping with an _id", inside={"_id": ID}),
        "faces": Field(IDS.types, IDS.expected, items=ID),
        "moved": Field(WHOLE, "a whole number"),
    },
    "person_proposals": {
        "owner": OBJECT_ID,
        **dict.fromkeys(("person", "other", "visits", "other_visits"), ID),
        **dict.fromkeys(("confidence", "lowest"), A_NUMBER),
    },
    "erased": {"_id": ID, "owner": OBJECT_ID},
    "accounts": {
        **dict.fromkeys(("_id", "owner"), OBJECT_ID),
        **dict.fromkeys(("name", "key"), TEXT),
        "role": ROLE,
        "cameras": _optional(NAMES),
        "active": TRUTH,
        "password": _optional(TEXT),
        "created": TIME,
    },
    "api_tokens": {
        **dict.fromkeys(("_id", "owner"), OBJECT_ID),
        **dict.fromkeys(("name", "digest"), TEXT),
        "role": ROLE,
        "cameras": _optional(NAMES),
        "created": TIME,
        **dict.fromkeys(("expires", "last_used"), _optional(TIME)),
    },
    "sessions": {
        **dict.fromkeys(("_id", "owner", "account"), OBJECT_ID),
        **dict.fromkeys(("digest", "address"), TEXT),
        **dict.fromkeys(("created", "used", "expires"), TIME),
    },
    "audit": {
        **dict.fromkeys(("_id", "owner"), OBJECT_ID),
        "at": TIME,
        **dict.fromkeys(("by", "address", "action", "object"), TEXT),
        "details": _optional(MAPPING),
    },
    "events": {
        **dict.fromkeys(("_id", "box", "type"), TEXT),
        "owner": OBJECT_ID,
        "number": ID,
        **dict.fromkeys(("at", "expires"), TIME),
        **dict.fromkeys(("cam_id", "visit_id"), _optional(TEXT)),
        "person_id": _optional(ID),
        "persons": IDS,
        "order_keys": NAMES,
        "facts": MAPPING,
    },
    **{
        name: {**dict.fromkeys(("_id", "owner"), OBJECT_ID), "name": TEXT, "content": MAPPING}
        for name in ("watch_lists", "watch_rules", "webhooks", "sink_states")
    },
    "event_deliveries": {
        **dict.fromkeys(("_id", "box", "sink", "event_id", "state"), TEXT),
        "owner": OBJECT_ID,
        "number": ID,
        "attempts": ID,
        **dict.fromkeys(("since", "next_at", "expires"), TIME),
        "persons": IDS,
        "order_keys": NAMES,
    },
    "job_runs": {"_id": TEXT, "at": TIME},
    "person_scope": {"_id": TEXT, "scope": TEXT, "upto": ID},
    "visit_progress": {"_id": TEXT, "upto": ID},
    "upload_locations": {
        **dict.fromkeys(("location", "box", "machine", "address"), TEXT),
        "owner": OBJECT_ID,
        "seen": TIME,
    },
    "picture_removals": {
        "key": PICTURE_KEY,
        "location": Field((*TEXT.types, "null"), "text or null", required=True),
        "face": ID,
    },
    "facens": {
        **dict.fromkeys(("_id", "database", "name"), TEXT),
        "size": Field(WHOLE, "a whole number from 1", required=True, least=1),
        "becoming": _optional(TEXT),
    },
}
"""By collection and field. Collections that are not listed have no fixed shape."""

FACE_OBJECT_KEYS = ("id", "bbox", "galleries")
"""Keys of the face object (see `store.face`); as fields of a stored face they would hide the real ones."""


def well_formed(collection: str) -> Document:
    """The filter for documents with the shape of their collection; {} if it has no fixed shape.

    A JSON schema, because the query planner does not try indexes for it:
    https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/
    """
    if (shape := SHAPES.get(collection)) is None:
        return {}
    schema = _schema_inside(shape)
    if collection == "faces":
        schema["not"] = {"anyOf": [{"required": [key]} for key in FACE_OBJECT_KEYS]}
    times = [
        bound
        for name, field in shape.items()
        if "date" in field.types
        for bound in ({name: {"$gt": LAST_TIME}}, {name: {"$lt": FIRST_TIME}})
    ]
    return {"$jsonSchema": schema, **({"$nor": times} if times else {})}


def malformed(collection: str) -> Document:
    """The filter for malformed documents of the collection."""
    return {"$nor": [well_formed(collection)]}


def fault(collection: str, document: Mapping[str, Any]) -> str:
    """What is wrong with the shape of the document; "" if it is well formed."""
    shape = SHAPES.get(collection, {})
    if collection == "faces":
        for key in FACE_OBJECT_KEYS:
            if key in document.keys():  # noqa: SIM118  a Face answers `in` for its other names
                return f"it has a field {key}, which only the face object has"
    return _fault_inside(shape, document)


def _schema_inside(shape: Mapping[str, Field]) -> Document:
    schema: Document = {"properties": {name: _schema(field) for name, field in shape.items()}}
    if required := [name for name, field in shape.items() if field.required]:
        schema["required"] = required
    return schema


def _schema(field: Field) -> Document:
    schema: Document = {"bsonType": list(field.types)}
    if field.least is not None:
        schema["minimum"] = field.least
    if field.most is not None:
        schema["maximum"] = field.most
    if field.pattern is not None:
        schema["pattern"] = field.pattern
    if field.items is not None:
        schema["items"] = _schema(field.items)
    return schema | (_schema_inside(field.inside) if field.inside is not None else {})


def _fault_inside(shape: Mapping[str, Field], document: Mapping[str, Any]) -> str:
    for name, field in shape.items():
        if name not in document:
            if field.required:
                return f"it has no {name}; expected {field.expected}"
        elif not _fits(field, document[name]):
            return f"its {name} is {_named(document[name])}; expected {field.expected}"
    return ""


def _fits(field: Field, value: object) -> bool:
    kind = bson_type(value)
    if kind not in field.types:
        return False
    if kind in NUMBER and isinstance(value, (int, float)):
        if field.least is not None and not value >= field.least:
            return False
        return field.most is None or value <= field.most
    if isinstance(value, str) and field.pattern is not None:
        return re.search(field.pattern, value) is not None
    if isinstance(value, list) and field.items is not None:
        return all(_fits(field.items, item) for item in value)
    if isinstance(value, Mapping) and field.inside is not None:
        return not _fault_inside(field.inside, value)
    return True


def bson_type(value: object) -> str:
    """MongoDB's name of a value's type if shapes use it, else Python's."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in (
        (Int64, "long"),
        (int, "int"),
        (float, "double"),
        (str, "string"),
        (datetime, "date"),
        (ObjectId, "objectId"),
        (list, "array"),
        (tuple, "array"),
        (Mapping, "object"),
        (type(None), "null"),
    ):
        if isinstance(value, kind):
            return name
    return type(value).__name__.lower().removesuffix("128")


def _named(value: object) -> str:
    """A description of a value without its content, which may be personal or secret."""
    names = {"string": "text", "array": "a list", "object": "a mapping", "null": "null", "date": "a time"}
    kind = bson_type(value)
    if kind in NUMBER or kind == "bool":
        return f"{value!r:.40}"
    return names.get(kind, f"of the type {type(value).__name__}")
