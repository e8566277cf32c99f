"""The cameras that this box should read: those of settings.toml and of the collection."""

from collections.abc import Iterable

import structlog

from cameras import roster
from cameras.settings import CameraSettings

log = structlog.get_logger(__name__)


class WantedCameras:
    """Merges the cameras of both sources. For a camera in both, settings.toml wins."""

    def __init__(self, box: str) -> None:
        self._box = box
        self._warned: set[str] = set()
        self._sources: dict[str, str] = {}

    def merge(
        self, in_file: Iterable[CameraSettings], in_collection: Iterable[CameraSettings]
    ) -> tuple[CameraSettings, ...]:
        """The cameras of this box, each id once."""
        in_file, in_collection = tuple(in_file), roster.for_box(in_collection, self._box)
        ids = {camera.id for camera in in_file}
        both = {camera.id for camera in in_collection} & ids
        for cam_id in sorted(both - self._warned):
            log.warning("a camera is in settings.toml and in the collection: the file decides", camera=cam_id)
        self._warned = both
        more = tuple(camera for camera in in_collection if camera.id not in ids)
        self._sources = dict.fromkeys(ids, "settings") | {camera.id: "collection" for camera in more}
        return (*roster.for_box(in_file, self._box), *more)

    def source_of(self, cam_id: str) -> str:
        """`settings`, `collection`, or empty for an unknown camera."""
        return self._sources.get(cam_id, "")
