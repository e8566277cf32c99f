"""The cameras of the Cameras collection, followed while the daemon runs."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from cameras.settings import CameraSettings
from daemon.config.camera_documents import ReadCameras, misspelt, read_cameras
from daemon.config.camera_secrets import CameraSecrets
from daemon.errors import SettingsError
from pipeline.base.background import supervised
from pipeline.base.files import read_regular, write_durably
from store import StoreError

log = structlog.get_logger(__name__)

POLL_SECONDS = 10.0
"""Interval at which the collection is read. MongoDB may have no change streams, and they do not report new
passwords."""


def read_copy(data_dir: Path) -> ReadCameras:
    """The collection's cameras as of the last run, from the copy in the data folder.

    Raises:
        SettingsError: the copy is damaged.
    """
    try:
        documents = json.loads(read_regular(_copy(data_dir)))
    except FileNotFoundError:
        return ReadCameras()
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError([f"{_copy(data_dir)}: {error}"]) from error
    if not isinstance(documents, list):
        raise SettingsError([f"{_copy(data_dir)}: expected a list of cameras"])
    return read_cameras(documents, CameraSecrets(data_dir))


def _copy(data_dir: Path) -> Path:
    return data_dir / "cameras.json"


class CameraStore(Protocol):
    opened: asyncio.Event

    async def camera_documents(self, box: str) -> Sequence[Mapping[str, Any]]:
        """The cameras that this box reads.

        Raises:
            StoreError: the store is away.
        """
        ...

    async def watch_cameras(self, notify: Callable[[], None]) -> None:
        """Call `notify` at each change until cancelled; returns if MongoDB has no change streams."""
        ...


class CollectionCameras:
    """The collection's cameras that this box reads.

    A camera with an invalid document keeps its previous settings, or does not run if there are none. A copy
    in the data folder is used if MongoDB is not available at the start.
    """

    def __init__(self, store: CameraStore, box: str, data_dir: Path, on_change: Callable[[], None]) -> None:
        self._store = store
        self._box = box
        self._secrets = CameraSecrets(data_dir)
        self._data_dir = data_dir
        self._copy = _copy(data_dir)
        self._on_change = on_change
        self._refresh = asyncio.Event()
        self._known = ReadCameras()
        self._advised: set[tuple[str, str]] = set()
        self.refused: Mapping[str, str] = {}
        """By camera id: why its current document is not in effect."""

    @property
    def cameras(self) -> tuple[CameraSettings, ...]:
        return self._known.cameras

    def load_copy(self) -> None:
        """Load the cameras of the last run."""
        try:
            self._known = read_copy(self._data_dir)
        except SettingsError as error:
            log.warning("the copy of the collection's cameras cannot be used", reason=str(error))
        for cam_id, problem in self._known.refused.items():
            log.warning("a camera in the copy of the collection is refused", camera=cam_id, problem=problem)

    def refresh(self) -> None:
        self._refresh.set()

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        await self._store.opened.wait()
        watching = supervised(self._store.watch_cameras(self.refresh), "camera changes")
        try:
            while True:
                self._refresh.clear()
                await self._read()
                try:
                    await asyncio.wait_for(self._refresh.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue
        finally:
            watching.cancel()

    async def _read(self) -> None:
        try:
            documents = await self._store.camera_documents(self._box)
        except StoreError:  # shown in the store's status; the cameras do not change
            return
        # Reads files with secrets, so not on the event loop.
        read = await asyncio.to_thread(read_cameras, documents, self._secrets)
        self._report(read, documents)
        kept = {camera.id: camera for camera in self.cameras if camera.id in read.refused}
        by_id = {**kept, **{camera.id: camera for camera in read.cameras}}
        copies = {**{cam_id: self._known.copies[cam_id] for cam_id in kept}, **read.copies}
        cameras = tuple(by_id[cam_id] for cam_id in sorted(by_id))
        if cameras == self.cameras:
            return
        self._known = ReadCameras(cameras, copies)
        log.info("the collection's cameras were read", cameras=len(cameras))
        await asyncio.to_thread(self._remember)
        self._on_change()

    def _report(self, read: ReadCameras, documents: Sequence[Mapping[str, Any]]) -> None:
        runs = {camera.id for camera in self.cameras}
        for cam_id, problem in read.refused.items():
            if self.refused.get(cam_id) != problem:
                then = "keeps its previous settings" if cam_id in runs else "does not run"
                log.error("a camera's document is refused", camera=cam_id, problem=problem, consequence=then)
        for cam_id in self.refused.keys() - read.refused.keys():
            log.info("a camera's document is no longer refused", camera=cam_id)
        self.refused = read.refused
        for document in documents:
            for key, meant in misspelt(document).items():
                cam_id = str(document.get("id"))
                if (cam_id, key) not in self._advised:
                    self._advised.add((cam_id, key))
                    log.warning("a camera has an unknown field", camera=cam_id, field=key, like=meant)

    def _remember(self) -> None:
        copies = self._known.copies
        text = json.dumps([copies[cam_id] for cam_id in sorted(copies)], ensure_ascii=False, indent=2)
        try:
            write_durably(self._copy, text.encode())
        except OSError as error:
            log.warning("the collection's cameras cannot be copied", path=str(self._copy), reason=str(error))
