"""The marker file at the root of a storage location, which contains the location's random id.

Stored faces record the id: the same URL on two boxes, or before and after a disk is mounted, can be two
locations.
"""

import re
import secrets

from store.errors import UploadError

MARKER = "facend-location"
"""Name of the file. It is not a picture's key."""

_ID = re.compile(r"[0-9a-f]{32}")


def new_marker() -> tuple[str, bytes]:
    """A new id, and the content of its marker file."""
    location = secrets.token_hex(16)
    note = "Facend identifies this storage location by the id above. Keep this file, also in backups."
    return location, f"{location}\n{note}\n".encode("ascii")


def location_in(content: bytes, where: str) -> str | None:
    """The id in a marker file; None for an empty one, which a power failure can leave.

    Raises:
        UploadError: the file is damaged; `where` names it.
    """
    if not content.strip():
        return None
    first = content.split(b"\n", 1)[0].strip().decode("ascii", errors="replace")
    if not _ID.fullmatch(first):
        raise UploadError(
            f"{where} is damaged: its first line is not a 32-digit hexadecimal id; restore it from a backup"
        )
    return first
