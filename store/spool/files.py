"""The files of a spool, for another process than the one that owns the spool."""

from collections.abc import Callable
from pathlib import Path

from pipeline.base.files import is_temporary, read_regular
from pipeline.types import Sighting
from store.errors import MalformedSightingError
from store.identity.erasure_report import RemovedSightings
from store.spool import codec
from store.spool.dead_letters import REASON_SUFFIX
from store.spool.spool import DEAD_FOLDER, SUFFIX


class SpoolFiles:
    """Pending sightings and dead letters of one box; implements `store.identity.erasure.SightingsOnDisk`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        return str(self._folder)

    def remove_matching(self, matches: Callable[[Sighting], bool | None]) -> RemovedSightings:
        removed = not_compared = 0
        dead = self._folder / DEAD_FOLDER
        for path in (*_files(self._folder), *_files(dead)):
            if path.parent != dead and path.suffix != SUFFIX:
                continue
            try:
                is_match = matches(codec.decode(read_regular(path)))
            except FileNotFoundError:  # stored or evicted meanwhile
                continue
            except MalformedSightingError:
                is_match = None
            if is_match:
                path.unlink(missing_ok=True)
                path.with_name(f"{path.name}{REASON_SUFFIX}").unlink(missing_ok=True)
                removed += 1
            elif is_match is None:
                not_compared += 1
        return RemovedSightings(removed, not_compared)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix != REASON_SUFFIX and not is_temporary(path))
    return sorted(path for path in found if path.is_file() and not path.is_symlink())
