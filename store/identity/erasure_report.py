"""What an erasure removed, would remove, and did not reach."""

from dataclasses import dataclass

from store.identity.lookalikes import Double

NOT_CHECKED = (
    "backups of MongoDB and of the pictures",
    "MongoDB's log of operations and free blocks of the disks, until they are overwritten",
    "photos of visits that no camera recorded together with this person",
)


@dataclass(frozen=True, slots=True)
class RemovedSightings:
    """Sightings on disk that were compared with a person."""

    removed: int
    not_compared: int
    """Damaged ones, and those whose facen cannot be compared with the person's."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Pictures that only another box can reach, which removes them later."""

    place: str
    pictures: int


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, in numbers, and what was not."""

    person_id: int
    faces: int
    pictures: int
    """Of the removed faces, at this box's place."""
    shared_photos: int
    """Whole frames that belong to other faces and showed the person, too."""
    name: str | None = None
    unassigned: int = 0
    """Faces without a person that looked like them. Not among `faces`."""
    sightings: int = 0
    """Sightings of theirs in this box's spool and dead letters."""
    doubles: tuple[int, ...] = ()
    """Other persons who were erased along."""
    doubles_left: tuple[Double, ...] = ()
    """Other persons who look the same and stay."""
    elsewhere: tuple[Elsewhere, ...] = ()
    foreign_urls: tuple[str, ...] = ()
    """Pictures outside the uploads that removed faces named. They stay at their hosts."""
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would remove."""

    person_id: int
    name: str | None
    faces: int
    pictures: int
    unassigned: int
    doubles: tuple[Double, ...]
