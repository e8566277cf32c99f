"""Which cameras this box should read: those of settings.toml, and those of the collection."""

from collections.abc import Iterable

import structlog

from cameras import roster
from cameras.settings import CameraSettings

log = structlog.get_logger(__name__)


class WantedCameras:
    """Puts both sources together. A camera that is in both is read as settings.toml says."""

    def __init__(self, box: str) -> None:
        self._box = box
        self._told: set[str] = set()
        self._sources: dict[str, str] = {}

    def together(
        self, in_file: Iterable[CameraSettings], in_collection: Iterable[CameraSettings]
    ) -> tuple[CameraSettings, ...]:
        """Those of this box, each id once."""
        in_file, in_collection = tuple(in_file), roster.for_box(in_collection, self._box)
        ids = {camera.id for camera in in_file}
        both = {camera.id for camera in in_collection} & ids
        for cam_id in sorted(both - self._told):
            log.warning("a camera is in settings.toml and in the collection: the file decides", camera=cam_id)
        self._told = both
        more = tuple(camera for camera in in_collection if camera.id not in ids)
        self._sources = dict.fromkeys(ids, "settings") | {camera.id: "collection" for camera in more}
        return (*roster.for_box(in_file, self._box), *more)

    def source_of(self, cam_id: str) -> str:
        """settings or collection."""
        return self._sources.get(cam_id, "")
