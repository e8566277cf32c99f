"""Which cameras a box reads, and which of them to start, stop and replace after a change."""

from collections.abc import Iterable
from dataclasses import dataclass

from cameras.settings import CameraSettings


@dataclass(frozen=True, slots=True)
class Assignment:
    """A camera and the box that reads it."""

    settings: CameraSettings
    read_by: str = ""
    """Name of another box; empty for this one."""

    @property
    def id(self) -> str:
        return self.settings.id


@dataclass(frozen=True, slots=True)
class RosterDiff:
    """Ids of the cameras to start, stop and replace; each id is in at most one field."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(old: Iterable[Assignment], new: Iterable[Assignment]) -> RosterDiff:
    """Compare the running cameras (`old`) with the wanted ones (`new`)."""
    before, after = _by_id(old), _by_id(new)
    return RosterDiff(
        added=tuple(cam_id for cam_id in after if cam_id not in before),
        removed=tuple(cam_id for cam_id in before if cam_id not in after),
        changed=tuple(cam_id for cam_id in after if cam_id in before and before[cam_id] != after[cam_id]),
    )


def for_box(cameras: Iterable[CameraSettings], box: str) -> tuple[CameraSettings, ...]:
    """The cameras whose `detector` is empty or names this box."""
    return tuple(camera for camera in cameras if camera.detector in ("", box))


def _by_id(cameras: Iterable[Assignment]) -> dict[str, Assignment]:
    """Cameras by id, in order. Raises ValueError for a duplicate id."""
    found: dict[str, Assignment] = {}
    for camera in cameras:
        if camera.id in found:
            raise ValueError(f"the camera id {camera.id} is used twice")
        found[camera.id] = camera
    return found
