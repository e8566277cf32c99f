"""A stored sighting as one line, for the log and for a terminal."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import structlog

from daemon.runtime.terminal import visible
from store.spool.recorder import StoredSighting

log = structlog.get_logger(__name__)

OUTCOMES = {"matched": "known", "created": "new", "ambiguous": "ambiguous", "withheld": "withheld"}
"""Words for the outcomes; the last two wait for a better sighting."""


def log_visit(stored: StoredSighting) -> None:
    log.info(
        "visit",
        camera=stored.cam_id,
        person=stored.person_id,
        known=known(stored),
        outcome=stored.outcome,
        friend=stored.friend,
        confidence=None if stored.confidence is None else round(stored.confidence, 3),
        quality=round(stored.score, 2),
        captured_at=stored.captured_at.isoformat(timespec="milliseconds"),
        face=stored.face_id,
        thumbnail=stored.thumbnail,
    )


def visit_line(stored: StoredSighting) -> str:
    """Local time, camera, person, outcome, friend, confidence, quality and thumbnail."""
    confidence = "   –" if not known(stored) or stored.confidence is None else f"{stored.confidence:.2f}"
    person = "nobody" if stored.person_id is None else f"person {stored.person_id}"
    return "  ".join(
        (
            f"{stored.captured_at.astimezone():%H:%M:%S}",
            f"camera {stored.cam_id}",
            f"{person:<9}",
            f"{OUTCOMES[stored.outcome]:<9}",
            "friend      " if stored.friend else "not a friend",
            f"confidence {confidence}",
            f"quality {stored.score:5.2f}",
            shown_path(stored.thumbnail),
        )
    )


def known(stored: StoredSighting) -> bool:
    return stored.person_id is not None and not stored.created


def shown_path(url: str) -> str:
    """A local file as a path relative to the current folder; any other URL unchanged."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return url
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return visible(str(shown), one_line=True)
