"""What a check of the store can find."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from bson import ObjectId

from store.ids import first_id_of


class Kind(StrEnum):
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree."""

    kind: Kind
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
        return cls(Kind(data["kind"]), data["subject"], data["detail"], data["repaired"])


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check looks at, and whether it may mend."""

    users: frozenset[ObjectId]
    """Everybody who has an account, active or not."""
    now: datetime
    grace: timedelta
    """Younger things are left alone: they may be on their way."""
    repair: bool
    repair_facens: bool
    """The storage in memory is a copy, so that mending it loses nothing."""

    @property
    def cutoff(self) -> datetime:
        return self.now - self.grace

    def is_young(self, face_id: int) -> bool:
        """Whether a face of this id was made a moment ago. Ids that callers chose themselves never are."""
        return self._first_id(self.cutoff) <= face_id <= self._first_id(self.now + self.grace)

    @staticmethod
    def _first_id(moment: datetime) -> int:
        return first_id_of(int(moment.astimezone(UTC).timestamp() * 1000))
