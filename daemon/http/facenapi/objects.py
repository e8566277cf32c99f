"""The objects of this wire: faces, boxes, persons, history entries and cameras."""

import json
from collections.abc import Sequence
from typing import Any

from daemon.http.facenapi.parameters import CORNERS
from pipeline.base.redaction import redact
from pipeline.types import Emotions, ExtractionFace, Rectangle
from store import Camera, Face, Person

ATTRIBUTES = ("gender", "age", "emotions")
"""Attributes of a face that version 1 added."""
CAMERA_FIELDS = ("id", "meta", "url", "enabled", "detector", "rot", "roi")
PICTURES = ("photo", "thumbnail", "normalized")


def box(bbox: Rectangle) -> dict[str, int]:
    """Whole pixels, as in the original."""
    return dict(zip(CORNERS, map(round, bbox), strict=True))


def box_key(bbox: Rectangle) -> str:
    """The key of a box in the results of an identification."""
    return json.dumps(list(box(bbox).values()))


def face(stored: Face, base: str, version: int) -> dict[str, Any]:
    """A stored face. `base` is the URL of this API's version, below which its pictures are served."""
    links = {field: f"{base}/face/id/{stored.id}/{field}" for field in PICTURES if field in stored.urls}
    timestamp = stored.timestamp
    shown = {
        "id": stored.id,
        "timestamp": None if timestamp is None else timestamp.isoformat(),
        "photo_hash": stored.get("photo_hash"),
        **{field: links.get(field) for field in PICTURES},
        **(box(stored.bbox) if stored.bbox else dict.fromkeys(CORNERS)),
        "meta": stored.get("meta") or "",
        "galleries": stored.galleries,
        "person_id": stored.get("person_id"),
        "friend": stored.get("friend") is True,
        "cam_id": stored.get("cam_id"),
    }
    if version:
        shown |= {name: stored.get(name) for name in ATTRIBUTES}
    return shown


def detected(found: ExtractionFace, attributes: Sequence[str]) -> dict[str, Any]:
    """A face of a picture, with those of its attributes that were asked for."""
    shown: dict[str, Any] = box(found["bbox"])
    for name in attributes:
        value = found.get(name)
        shown[name] = list(value.prevalent()) if isinstance(value, Emotions) else value
    return shown


def person(stored: Person) -> dict[str, Any]:
    """The original's persons have no name of their own: `meta` is ours."""
    meta = stored.get("meta") or stored.get("name")
    return {"id": stored["_id"], "meta": meta if isinstance(meta, str) else ""}


def history_entry(stored: Face, base: str) -> dict[str, Any]:
    shown = face(stored, base, version=1)
    return {
        "person_id": shown["person_id"],
        "face_id": shown["id"],
        "cam_id": shown["cam_id"],
        "meta": shown["meta"],
        "screenshot": shown["photo"],
        "timestamp": shown["timestamp"],
    }


def camera(stored: Camera) -> dict[str, Any]:
    """A camera; secrets in its URL are masked."""
    shown = {"enabled": True, "meta": "", **stored}
    return {name: redact(shown.get(name)) for name in CAMERA_FIELDS}
