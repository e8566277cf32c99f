"""Runs a recorded scene through the daemon's cameras, pipeline and store, and reads the stored faces."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cameras.errors import Reason
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from daemon.config.service_user import service_user
from daemon.config.settings import PluginsSettings, Settings, SpoolSettings, UploadsSettings
from daemon.config.store_context import open_context
from daemon.errors import StartError
from daemon.evaluation.inputs import InputError
from daemon.evaluation.lockstep import Lockstep
from daemon.evaluation.scene_scores import SceneFace
from daemon.events.bus import EventBus
from daemon.model_loading import load_models, models_folder
from daemon.plugins.host import Plugins
from daemon.runtime import data_folder
from daemon.runtime.metrics import Metrics
from daemon.runtime.tasks import exception_handler
from daemon.storing import Storing
from daemon.supervisor import Supervisor
from daemon.upkeep import Upkeep
from pipeline.types import Rectangle, Sighting
from pipeline.visits.best_shot import Posting
from store import StoreError
from store.face_fields import score_of
from store.settings import StoreSettings
from store.spool.spool import Spool, SpoolError

OPEN_SECONDS = 60.0
STORE_SECONDS = 60.0
"""Generous, because a private mongod starts within seconds and stores a sighting in a fraction of a
second."""
STOP_SECONDS = 2.0
POLL_SECONDS = 0.5

Progress = Callable[[float], None]
"""Called with the media time analysed so far, in seconds."""


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """The clips to play, and how."""

    clips: list[Path]
    data_dir: Path
    """An empty folder for the data of this run."""
    posting: Posting = Posting.OVERALL


def play(settings: Settings, plan: ScenePlan, progress: Progress) -> list[SceneFace]:
    """Play the scene; every stored face, oldest first.

    Raises:
        InputError: `data_dir` is not empty, or a clip cannot be read.
        StartError: the store cannot be opened, or a sighting was not stored.
    """
    data_folder.prepare(plan.data_dir)
    if any(plan.data_dir.iterdir()):
        raise InputError(f"{plan.data_dir} is not empty; an evaluation needs an empty data folder")
    scene_settings = settings_for(settings, plan)
    accepted = asyncio.run(_Run(scene_settings).play(progress))
    try:
        faces = asyncio.run(_stored_faces(scene_settings))
    except StoreError as error:
        raise StartError(f"store: {error}") from error
    if len(faces) != accepted:
        raise StartError(
            f"only {len(faces)} of {accepted} sightings became faces; see {scene_settings.data_dir}/spool"
        )
    return faces


def settings_for(settings: Settings, plan: ScenePlan) -> Settings:
    """The given pipeline, models and persons, with a store, uploads and cameras for the scene alone."""
    cameras = tuple(
        CameraSettings(id=clip.stem, url=clip.absolute().as_uri(), speed="fast", posting=plan.posting.value)
        for clip in plan.clips
    )
    own = {
        "data_dir": plan.data_dir.absolute(),
        "models": settings.models.model_copy(update={"folder": models_folder(settings)}),
        "store": StoreSettings(mongod=settings.store.mongod, mongod_cache_mb=settings.store.mongod_cache_mb),
        "uploads": UploadsSettings(),
        "spool": SpoolSettings(),
        "persons": settings.persons.model_copy(update={"scope": "global"}),
        "plugins": PluginsSettings(),
        "cameras": cameras,
    }
    return settings.model_copy(update=own)


async def _stored_faces(settings: Settings) -> list[SceneFace]:
    async with open_context(settings) as ctx:
        user = await service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)
        return [
            SceneFace(
                face["cam_id"],
                face.get("person_id"),
                Rectangle(*face.bbox),
                face["media_time"],
                score=score_of(face),
                outcome=face.get("person_outcome"),
                thumbnail=face.get("thumbnail"),
            )
            for face in await ctx.faces.find(user, None, sort=[("_id", 1)])
            if face.bbox is not None
        ]


class _Run:
    """The parts of the daemon that a scene needs. Withheld faces are reconsidered once, at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._accepted = 0

    async def play(self, progress: Progress) -> int:
        """Play the clips to their end; the number of accepted sightings."""
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._crash: asyncio.Future[None] = self._loop.create_future()
        self._loop.set_exception_handler(exception_handler(self._crashed))
        models = await asyncio.to_thread(load_models, settings)
        metrics = Metrics(version=version("facend"), pack=models.pack.name, runtime=models.runtime)
        async with AsyncExitStack() as stack:
            stack.enter_context(data_folder.held(settings.data_dir))
            self._spool = self._new_spool(metrics)
            plugins, events = Plugins(settings.plugins), EventBus()
            self._storing = Storing(settings, models, self._spool, metrics, events, plugins)
            stack.push_async_callback(self._storing.close)
            self._storing.start()
            await self._opened()
            steps = Lockstep(datetime.now(UTC), self._store, progress)
            stack.callback(steps.stop)
            self._supervisor = Supervisor(models, settings.pipeline, steps, metrics, events)
            stack.push_async_callback(self._supervisor.stop, STOP_SECONDS)
            await self._supervisor.apply(settings.cameras)
            await self._played(asyncio.ensure_future(asyncio.to_thread(steps.run)))
            await Upkeep(settings, models, self._spool, self._storing).look_again()
        return self._accepted

    def _new_spool(self, metrics: Metrics) -> Spool:
        try:
            return Spool(self._settings.data_dir / "spool", self._settings.spool.max_bytes, metrics)
        except SpoolError as error:
            raise StartError(str(error)) from error

    def _crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    async def _opened(self) -> None:
        opened = asyncio.ensure_future(self._storing.opened.wait())
        waits: list[asyncio.Future[object]] = [opened, self._crash]  # type: ignore[list-item]  # any result
        done, _ = await asyncio.wait(waits, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if self._crash in done:
            opened.cancel()
            self._crash.result()
        if opened not in done:
            opened.cancel()
            raise StartError(f"store: {self._storing.trouble}")

    async def _played(self, played: "asyncio.Future[None]") -> None:
        """Wait until all clips have ended. Raises InputError if one of them cannot be read."""
        while not played.done():
            await asyncio.wait(
                [played, self._crash], timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if self._crash.done():
                self._crash.result()
            for camera in self._supervisor.status():
                if camera.state != CameraState.GREY and camera.reason in set(Reason):
                    raise InputError(f"{camera.cam_id}: {camera.detail}")
        played.result()

    def _store(self, sighting: Sighting) -> None:
        """Put a sighting through the spool into the store. Called on the analysis thread."""
        try:
            self._spool.put(sighting)
        except SpoolError as error:
            raise StartError(str(error)) from error
        self._accepted += 1
        asyncio.run_coroutine_threadsafe(self._storing.drain(STORE_SECONDS), self._loop).result()
        if len(self._spool):
            raise StartError(f"a sighting could not be stored: {self._storing.trouble}")
