"""Logs one line for each visit: person, camera, time, and the reason of the outcome."""

import os
from collections.abc import Iterable
from datetime import tzinfo
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import structlog

from cameras.settings import CameraSettings
from daemon.events.bus import EventBus
from daemon.events.types import Event, SightingStored, VisitUpdated
from pipeline.base.control_characters import visible
from store.spool.stored_sighting import StoredSighting

log = structlog.get_logger(__name__)

MAX_NAME_CHARACTERS = 16
"""Longer names of cameras and persons are truncated, so that a line has less than 160 characters."""


class VisitLog:
    """Logs a visit when its person is determined or changes; logs stored faces at level debug."""

    def __init__(self, cameras: Iterable[CameraSettings]) -> None:
        self._cameras = {camera.id: _short(camera.name or camera.id) for camera in cameras}

    def subscribe(self, events: EventBus) -> None:
        """Subscribe to the events that are logged."""
        events.handle("visit log", [VisitUpdated, SightingStored], self.log)

    def log(self, event: Event) -> None:
        match event:
            case VisitUpdated(stored=stored):
                self._log_visit(stored)
            case SightingStored(stored=stored):
                score, thumbnail = round(stored.score, 2), stored.thumbnail
                log.debug("face stored", face=stored.face_id, quality=score, thumbnail=thumbnail)

    def _log_visit(self, stored: StoredSighting) -> None:
        log.info(
            "visit",
            camera=self._cameras.get(stored.cam_id, _short(stored.cam_id)),
            person=stored.person_id,
            **({"name": _short(stored.person_name)} if stored.person_name else {}),
            reason=reason(stored),
            visit=stored.visit_id.removeprefix(f"{stored.cam_id}-"),
        )


def reason(stored: StoredSighting) -> str:
    """The outcome of the identification and its reason, as text."""
    match stored.outcome:
        case "matched":
            confidence = "" if stored.confidence is None else f", confidence {stored.confidence:.2f}"
            return f"matched{confidence}{', friend' if stored.friend else ''}"
        case "created":
            return "new, no similar person"
        case "ambiguous":
            return f"ambiguous, {stored.reason or 'resembles a known person'}"
        case "withheld":
            return f"withheld, {stored.reason or 'too few good shots'}"


def visit_line(stored: StoredSighting, zone: tzinfo) -> str:
    """A visit as a line for a terminal: local time of the site, camera, person, reason, picture."""
    person = "nobody" if stored.person_id is None else f"person {stored.person_id}"
    name = f" ({_short(stored.person_name)})" if stored.person_name else ""
    return "  ".join(
        (
            f"{stored.captured_at.astimezone(zone):%H:%M:%S}",
            f"camera {_short(stored.cam_id)}",
            f"{person + name:<9}",
            f"{reason(stored):<24}",
            shown_path(stored.thumbnail),
        )
    )


def shown_path(url: str) -> str:
    """Convert a file URL to a path, relative if it is below the current folder; other URLs are unchanged."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return url
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return visible(str(shown), one_line=True)


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARACTERS else f"{name[: MAX_NAME_CHARACTERS - 1]}…"
