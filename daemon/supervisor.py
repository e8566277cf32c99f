"""Starts, replaces and stops the cameras' threads, and reports their status."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from threading import BoundedSemaphore
from typing import Protocol

import structlog

from cameras import roster
from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.load.decode_load import DecodeLoad
from cameras.load.motion import MotionGate
from cameras.roster import Assignment
from cameras.settings import CameraSettings
from cameras.source.connection_hints import ConnectionHints
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.reachability import ReachabilityProbe
from daemon.config.settings import PipelineSettings
from daemon.events.announced import AnnouncedCamera
from daemon.events.bus import EventBus
from daemon.events.producers import CameraEvents, PipelineEvents
from daemon.events.types import CameraRemoved
from daemon.runtime.crashes import CrashNotes
from daemon.runtime.metrics import Metrics
from daemon.status import CameraReport
from pipeline.base.background import in_thread
from pipeline.models.loader import Models
from pipeline.stages import CameraStages, MotionCheck

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 0.5


OVERLOADED_HINT = "this box cannot decode all frames of its cameras: only key frames while nothing happens"


def motion_gate() -> MotionCheck:
    """A motion gate for one camera, which keeps a background model."""
    gate = MotionGate()
    return lambda frame: gate.scene(frame.pixels.luma(), frame.media_time)


class Analyst(Protocol):
    """Analyses the cameras' latest frames."""

    def wake(self) -> None:
        """A frame has arrived."""
        ...

    def add(self, cam_id: str, slot: LatestFrame, stages: CameraStages) -> None: ...
    def remove(self, cam_id: str) -> None: ...


@dataclass
class RunningCamera:
    settings: CameraSettings
    handler: CameraHandler
    slot: LatestFrame
    stages: CameraStages
    read_by: str = ""
    """The other box that reads this camera; empty if this one does."""

    @property
    def hint(self) -> str:
        """A problem that an operator should fix although frames arrive; empty if there is none."""
        overload = OVERLOADED_HINT if self.handler.overloaded else ""
        return "; ".join(filter(None, (self._orientation_hint, overload)))

    @property
    def _orientation_hint(self) -> str:
        degrees = self.stages.orientation_degrees
        if not degrees:
            return ""
        if degrees == 180:
            return "the camera is mounted upside down: faces are found only in a picture rotated by 180°"
        return (
            "the camera is mounted on its side: faces are found only in a picture rotated counterclockwise "
            f"by {degrees}°"
        )


class Supervisor:
    def __init__(
        self,
        models: Models,
        defaults: PipelineSettings,
        analysis: Analyst,
        metrics: Metrics,
        events: EventBus,
        crashes: CrashNotes | None = None,
    ) -> None:
        self._models = models
        self._defaults = defaults
        self._analysis = analysis
        self._metrics = metrics
        self._events = events
        self._crashes = crashes
        # One more than there are cores, so that no core is idle while threads switch.
        self._decode_limiter = BoundedSemaphore(len(os.sched_getaffinity(0)) + 1)
        self._running: dict[str, RunningCamera] = {}

    async def apply(
        self,
        wanted: Sequence[CameraSettings],
        read_elsewhere: Mapping[str, str] | None = None,
        stop_seconds: float = 2.0,
    ) -> None:
        """Run exactly these cameras; cameras with unchanged settings are not interrupted.

        `read_elsewhere`: by camera id, the name of the other box that reads the camera; it is not read here.
        """
        elsewhere = read_elsewhere or {}
        before = [Assignment(running.settings, running.read_by) for running in self._running.values()]
        after = [Assignment(settings, elsewhere.get(settings.id, "")) for settings in wanted]
        change = roster.diff(before, after)
        if change:
            changes = {kind: list(cam_ids) for kind, cam_ids in asdict(change).items() if cam_ids}
            log.info("these cameras change", **changes)
        stopping = [self._running[cam_id] for cam_id in (*change.removed, *change.changed)]
        for camera in stopping:
            camera.handler.ask_to_stop()
        to_start = (*change.added, *change.changed)
        starting = {camera.id: self._prepare(camera) for camera in after if camera.id in to_start}
        # New cameras are in the status from now on, although their predecessors may take time to stop.
        self._running = {camera.id: starting.get(camera.id) or self._running[camera.id] for camera in wanted}
        self._refresh()  # publishes the states of new cameras
        await self._join(stopping, stop_seconds)
        for cam_id in change.removed:
            # From a thread, so that it follows the last changes of state, which threads have published.
            self._events.publish_from_thread(CameraRemoved(cam_id))
        for camera in starting.values():
            self._start(camera)

    def posting_failed(self, message: str) -> None:
        """Report to all cameras that sightings cannot be posted at present."""
        for camera in self._running.values():
            camera.handler.report_posting_error(message)

    async def refresh_states(self) -> None:
        """Apply changes of cameras' states that depend on time alone, until cancelled."""
        while True:
            self._refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    def _refresh(self) -> None:
        for camera in self._running.values():
            camera.handler.refresh()

    async def probe_reachability(self) -> None:
        """Reopen cameras that are reachable again while their old connection is silent, until cancelled."""
        await ReachabilityProbe(lambda: [camera.handler for camera in self._running.values()]).run()

    async def stop(self, timeout_seconds: float) -> None:
        """Stop all cameras. They stay in the status, as stopped."""
        stopping = list(self._running.values())
        for camera in stopping:
            camera.handler.ask_to_stop()
        await self._join(stopping, timeout_seconds)

    def status(self) -> list[CameraReport]:
        """Each camera's status, in the order of the settings."""
        return [
            CameraReport(**asdict(camera.handler.status), hint=camera.hint)
            for camera in self._running.values()
        ]

    def announced(self) -> list[AnnouncedCamera]:
        """The enabled cameras that this box reads."""
        return [
            AnnouncedCamera(camera.settings.id, camera.settings.name, camera.handler.status.state)
            for camera in self._running.values()
            if camera.settings.enabled and not camera.read_by
        ]

    def overloaded(self) -> dict[str, float]:
        """By camera id: 1 if decoding is limited for lack of processor time, else 0."""
        return {camera.settings.id: float(camera.handler.overloaded) for camera in self._running.values()}

    def hung(self) -> tuple[CameraSettings, float] | None:
        """A camera whose thread hangs, and for how many seconds; None if there is none."""
        for camera in self._running.values():
            if seconds := camera.handler.hung_seconds():
                return camera.settings, seconds
        return None

    def _prepare(self, assignment: Assignment) -> RunningCamera:
        """Make a camera to start; its state is grey if it is disabled or read by another box."""
        settings, read_by = assignment.settings, assignment.read_by
        self._metrics.add_camera(settings.id)
        observer = CameraEvents(self._metrics, self._events)
        slot = LatestFrame(settings.id, observer, on_ready=self._analysis.wake)
        stages = CameraStages(
            settings.id,
            self._models,
            self._defaults.for_camera(settings),
            PipelineEvents(self._metrics, self._events),
            motion_gate() if self._defaults.motion_gate else None,
        )
        held = self._crashes.held_seconds(settings) if self._crashes else 0.0
        decode_load = DecodeLoad(self._decode_limiter)
        open_source = partial(
            FFmpegSource,
            in_view=lambda: stages.in_view,
            decode_load=decode_load,
            hints=ConnectionHints(),
        )
        handler = CameraHandler(
            settings,
            slot,
            observer,
            open_source,
            held_seconds=held,
            wanted_fps=lambda: stages.wanted_fps,
            decode_load=decode_load,
            read_by=read_by,
        )
        return RunningCamera(settings, handler, slot, stages, read_by)

    def _start(self, camera: RunningCamera) -> None:
        self._analysis.add(camera.settings.id, camera.slot, camera.stages)
        camera.handler.start()

    async def _join(self, cameras: Sequence[RunningCamera], timeout_seconds: float) -> None:
        """Wait for the threads to end, with one timeout for all."""
        end = time.monotonic() + timeout_seconds

        def wait() -> None:
            for camera in cameras:
                camera.handler.join(max(0.0, end - time.monotonic()))

        await in_thread(wait, "end of cameras")
        for camera in cameras:
            self._analysis.remove(camera.settings.id)
