"""Results of an erasure: what it removed, would remove, and could not reach."""

from dataclasses import dataclass

from store.identity.lookalikes import Lookalike

NOT_CHECKED = (
    "backups of MongoDB and of the pictures",
    "MongoDB's oplog and free blocks of the disks, until they are overwritten",
    "photos of visits that were not recorded together with this person",
)


@dataclass(frozen=True, slots=True)
class RemovedSightings:
    """Numbers of sightings on disk."""

    removed: int
    not_compared: int
    """Damaged sightings, and sightings whose facen cannot be compared with the person's."""


@dataclass(frozen=True, slots=True)
class RemotePictures:
    """Pictures that only another box can reach. That box removes them later."""

    place: str
    pictures: int


@dataclass(frozen=True, slots=True)
class Erased:
    """Numbers of what was removed, and what was not."""

    person_id: int
    faces: int
    pictures: int
    """Pictures of the removed faces at this box's location."""
    shared_photos: int
    """Photos of other faces that also showed the person."""
    name: str | None = None
    unassigned: int = 0
    """Similar faces without a person. Not counted in `faces`."""
    sightings: int = 0
    """Their sightings in this box's spool and dead letters."""
    lookalikes: tuple[int, ...] = ()
    """Ids of other persons who were erased as well."""
    lookalikes_left: tuple[Lookalike, ...] = ()
    """Similar persons who were not erased."""
    elsewhere: tuple[RemotePictures, ...] = ()
    foreign_urls: tuple[str, ...] = ()
    """URLs of pictures outside the uploads, which are not removed."""
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would remove."""

    person_id: int
    name: str | None
    faces: int
    pictures: int
    unassigned: int
    lookalikes: tuple[Lookalike, ...]
