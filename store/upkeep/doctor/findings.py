"""Findings of a check of the store, and its scope."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from bson import ObjectId

from store.mongo.ids import first_id_of


class FindingKind(StrEnum):
    """Kinds of findings, as nouns that a report counts."""

    MALFORMED = "malformed document"
    NO_INDEX = "index that cannot be built"
    DELETED_USER = "data of a deleted user"
    ERASED_PERSON = "face of an erased person"
    NO_PERSON = "face of a person that does not exist"
    NO_FACES = "person without faces"
    NO_GALLERY = "face in a gallery that does not exist"
    NO_ENTRY = "face without facen entry"
    NO_FACE = "facen entry without face"
    UNUSABLE_FACEN = "face with an unusable facen"
    MISSING_PICTURE = "missing picture"
    ORPHANED_PICTURE = "orphaned picture"
    OTHER_ADDRESS = "picture under an earlier address"
    WAITING_PICTURE = "picture that waits for its removal"
    NOT_MOUNTED = "picture at a location of this box that is not available"
    ELSEWHERE = "picture at a location of another box"
    UNKNOWN_LOCATION = "picture at an unknown location"
    REFUSED = "repair refused"

    @property
    def is_note(self) -> bool:
        """Whether it reports an item that was not checked, rather than a fault."""
        return self in {FindingKind.ELSEWHERE, FindingKind.UNKNOWN_LOCATION}


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency."""

    kind: FindingKind
    subject: str
    """The object concerned, such as `face 123`."""
    detail: str = ""
    repaired: str = ""
    """What the repair did; empty if it did nothing."""

    def as_json(self) -> dict[str, str]:
        return {
            "kind": str(self.kind),
            "subject": self.subject,
            "detail": self.detail,
            "repaired": self.repaired,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Finding":
        return cls(FindingKind(data["kind"]), data["subject"], data["detail"], data["repaired"])


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check covers, and what it may repair."""

    users: frozenset[ObjectId]
    """All users, active or not."""
    checked: frozenset[ObjectId]
    """The users whose data this box checks."""
    now: datetime
    grace: timedelta
    """Minimum age of checked objects; younger ones may not be completely stored."""
    repair: bool
    repair_facens: bool
    """Whether the facen storage may be repaired without `repair`: it is a copy of MongoDB."""
    force: bool = False
    """Whether to repair even if a disk seems to be unmounted or the database to be the wrong one."""

    @property
    def cutoff(self) -> datetime:
        return self.now - self.grace

    def is_young(self, face_id: int) -> bool:
        """Whether a face of this id was created within the grace period. False for ids chosen by callers."""
        return self._first_id(self.cutoff) <= face_id <= self._first_id(self.now + self.grace)

    @staticmethod
    def _first_id(moment: datetime) -> int:
        return first_id_of(int(moment.astimezone(UTC).timestamp() * 1000))
