"""The cameras of the Cameras collection, followed while the daemon runs."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from cameras.settings import CameraSettings
from daemon.camera_documents import cameras_of, plain
from daemon.camera_secrets import CameraSecrets
from daemon.errors import SettingsError
from store import StoreError
from store.background import supervised
from store.files import write_durably

log = structlog.get_logger(__name__)

POLL_SECONDS = 10.0
"""How often the collection is read where MongoDB tells of no changes; a new password is seen only so."""


def copied(data_dir: Path) -> tuple[CameraSettings, ...]:
    """The collection's cameras as the last run knew them. SettingsError where its copy is of no use."""
    try:
        return cameras_of(json.loads(_copy(data_dir).read_text(encoding="utf-8")), CameraSecrets(data_dir))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise SettingsError([f"{_copy(data_dir)}: {error}"]) from error


def _copy(data_dir: Path) -> Path:
    return data_dir / "cameras.json"


class CameraStore(Protocol):
    opened: asyncio.Event

    async def camera_documents(self, box: str) -> Sequence[Mapping[str, Any]]:
        """Those that this box reads. StoreError where the store is away."""
        ...

    async def watch_cameras(self, notify: Callable[[], None]) -> None:
        """Calls `notify` at every change, until cancelled; returns where MongoDB tells of none."""
        ...


class CollectionCameras:
    """What the collection wanted when it was last in order. A change with a fault in it is refused whole.

    A copy lies in the data folder, so that a box that starts while MongoDB is away knows its cameras.
    """

    def __init__(self, store: CameraStore, box: str, data_dir: Path, on_change: Callable[[], None]) -> None:
        self._store = store
        self._box = box
        self._secrets = CameraSecrets(data_dir)
        self._data_dir = data_dir
        self._copy = _copy(data_dir)
        self._on_change = on_change
        self._look_again = asyncio.Event()
        self.cameras: tuple[CameraSettings, ...] = ()
        self.refused = ""
        """Why the collection as it is now is not in effect, or the empty string."""

    def recall(self) -> None:
        """The cameras of the last run."""
        try:
            self.cameras = copied(self._data_dir)
        except SettingsError as error:
            log.warning("the last run's copy of the collection's cameras is of no use", reason=str(error))

    def look_again(self) -> None:
        self._look_again.set()

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        await self._store.opened.wait()
        watching = supervised(self._store.watch_cameras(self.look_again), "camera changes")
        try:
            while True:
                self._look_again.clear()
                await self._look()
                try:
                    await asyncio.wait_for(self._look_again.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue
        finally:
            watching.cancel()

    async def _look(self) -> None:
        try:
            documents = await self._store.camera_documents(self._box)
        except StoreError:  # it shows as the store's own trouble; the cameras go on as they are
            return
        try:
            # It reads the secrets' files: not on the loop.
            cameras = await asyncio.to_thread(cameras_of, documents, self._secrets)
        except SettingsError as error:
            if str(error) != self.refused:
                log.error("the changed cameras are refused and the old ones stay", problems=error.problems)
            self.refused = str(error)
            return
        self.refused = ""
        if cameras == self.cameras:
            return
        self.cameras = cameras
        log.info("the collection's cameras were read", cameras=len(cameras))
        await asyncio.to_thread(self._remember, documents)
        self._on_change()

    def _remember(self, documents: Sequence[Mapping[str, Any]]) -> None:
        text = json.dumps([plain(document) for document in documents], ensure_ascii=False, indent=2)
        try:
            write_durably(self._copy, text.encode())
        except OSError as error:
            log.warning("the collection's cameras cannot be copied", path=str(self._copy), reason=str(error))
