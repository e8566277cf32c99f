"""Applies changes of settings.toml and of the Cameras collection to the running cameras."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from daemon.camera_leases import CameraLeases, LeaseStore
from daemon.config.collection_cameras import CameraStore, CollectionCameras
from daemon.config.file_watch import FileWatch
from daemon.config.settings import Settings
from daemon.config.wanted_cameras import WantedCameras
from daemon.errors import SettingsError
from daemon.status import CameraReport
from daemon.supervisor import Supervisor

log = structlog.get_logger(__name__)


class CameraAndLeaseStore(CameraStore, LeaseStore, Protocol):
    """The Cameras collection and the leases on its cameras."""


class LiveConfiguration:
    """The settings in effect while the daemon runs.

    Changed cameras are restarted, and the others continue. All other settings take effect after a restart.
    """

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        store: CameraAndLeaseStore,
        reread: Callable[[], Settings],
        watch: FileWatch | None,
    ) -> None:
        """`reread` reads the settings again; `watch` detects changes of their file."""
        self._settings = settings
        self._supervisor = supervisor
        self._reread = reread
        self._watch = watch
        self._wanted = WantedCameras(settings.box)
        self._settings_error = ""
        self.changed = asyncio.Event()
        """Set when there are changes to apply."""
        self.reload_wanted = False
        """Whether the settings are to be read again."""
        self._collection = CollectionCameras(store, settings.box, settings.data_dir, self.changed.set)
        self._leases = CameraLeases(store, self.changed.set)

    async def start(self) -> int:
        """Start the cameras of the settings and of the collection's copy; returns their number."""
        await asyncio.to_thread(self._collection.load_copy)
        return await self._apply()

    async def follow(self) -> None:
        """Follow the collection until cancelled."""
        await self._collection.run()

    async def renew_leases(self) -> None:
        """Renew the leases of the cameras until cancelled."""
        await self._leases.run()

    def reload(self) -> None:
        """Request a reload of the settings and of the secrets of the collection's cameras."""
        self.reload_wanted = True
        self._collection.refresh()
        self.changed.set()

    def check_file(self) -> None:
        """Request a reload if the settings file has changed; call every few seconds."""
        if self._watch is not None and self._watch.changed():
            self.reload()

    async def apply_changes(self) -> None:
        """Apply the changes. Invalid settings are logged and change nothing."""
        self.changed.clear()
        reload, self.reload_wanted = self.reload_wanted, False
        read = reload and await self._read_settings()
        await self._apply()
        if read:
            log.info("the settings were read again", cameras=len(self._settings.cameras))

    @property
    def refused(self) -> dict[str, str]:
        """Why the current `settings` and `collection` are not in effect; empty texts if they are."""
        return {"settings": self._settings_error, "collection": "; ".join(self._collection.refused.values())}

    def cameras(self) -> list[CameraReport]:
        """Each camera's status and source; a refused change of the camera is a hint."""
        reports = []
        for camera in self._supervisor.status():
            source = self._wanted.source_of(camera.cam_id)
            problem = self._collection.refused.get(camera.cam_id) if source == "collection" else None
            refused = f"a change is refused, and the previous settings stay: {problem}" if problem else ""
            hint = "; ".join(filter(None, (camera.hint, refused)))
            reports.append(replace(camera, hint=hint, source=source))
        return reports

    async def _read_settings(self) -> bool:
        if self._watch is not None:
            self._watch.mark_read()
        try:
            new = await asyncio.to_thread(self._reread)
        except SettingsError as error:
            log.error("the changed settings are refused and the old ones stay", problems=error.problems)
            self._settings_error = str(error)
            return False
        self._settings_error = ""
        old = self._settings
        sections = [name for name in Settings.model_fields if getattr(new, name) != getattr(old, name)]
        if later := [name for name in sections if name != "cameras"]:
            log.warning("these settings take effect after a restart", sections=later)
        self._settings = old.model_copy(update={"cameras": new.cameras})
        return True

    async def _apply(self) -> int:
        wanted = self._wanted.merge(self._settings.cameras, self._collection.cameras)
        self._leases.want([camera.id for camera in wanted if camera.enabled])
        await self._supervisor.apply(wanted, self._leases.read_elsewhere)
        return len(wanted)
