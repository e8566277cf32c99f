"""What a check of the store can find."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from bson import ObjectId

from store.mongo.ids import first_id_of


class FindingKind(StrEnum):
    """Each reads as a noun: it is what a report counts."""

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
    NOT_MOUNTED = "picture at a place of this box that is not here"
    ELSEWHERE = "picture at a place of another box"
    UNKNOWN_PLACE = "picture at an unknown place"
    REFUSED = "repair refused"

    @property
    def is_note(self) -> bool:
        """Whether it says what was not checked, and nothing is known to be wrong."""
        return self in {FindingKind.ELSEWHERE, FindingKind.UNKNOWN_PLACE}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree."""

    kind: FindingKind
    subject: str
    """What it is about, such as `face 123`."""
    detail: str = ""
    repaired: str = ""
    """What was done about it; empty where nothing was."""

    def as_json(self) -> dict[str, str]:
        return {
            "kind": str(self.kind),
            "subject": self.subject,
            "detail": self.detail,
            "repaired": self.repaired,
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Finding":
        return cls(FindingKind(data["kind"]), data["subject"], data["detail"], data["repaired"])


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check looks at, and whether it may mend."""

    users: frozenset[ObjectId]
    """Those who have an account, active or not."""
    checked: frozenset[ObjectId]
    """Those of them whose data are this box's to check."""
    now: datetime
    grace: timedelta
    """Younger things are left alone: they may be on their way."""
    repair: bool
    repair_facens: bool
    """The storage in memory is a copy, so that mending it loses nothing."""
    force: bool = False
    """Whether to mend also what looks like a disk that is not mounted, or a wrong database."""

    @property
    def cutoff(self) -> datetime:
        return self.now - self.grace

    def is_young(self, face_id: int) -> bool:
        """Whether a face of this id was made a moment ago. Ids that callers chose themselves never are."""
        return self._first_id(self.cutoff) <= face_id <= self._first_id(self.now + self.grace)

    @staticmethod
    def _first_id(moment: datetime) -> int:
        return first_id_of(int(moment.astimezone(UTC).timestamp() * 1000))
