"""Which cameras run: starts, replaces and ends their threads, and knows how each one is."""

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
from cameras.source.ffmpeg import FFmpegSource
from cameras.source.reachability import ReachabilityProbe
from daemon.config.settings import PipelineSettings
from daemon.runtime.crashes import CrashNotes
from daemon.runtime.metrics import Metrics
from daemon.status import CameraReport
from pipeline.base.background import in_thread
from pipeline.models.engine import Models
from pipeline.stages import CameraStages, Watch

log = structlog.get_logger(__name__)


OVERLOADED = "this box cannot decode all that its cameras send: only key frames while nothing happens"


def motion_gate() -> Watch:
    """A gate of one camera's own, because it remembers what the scene looks like."""
    gate = MotionGate()
    return lambda frame: gate.scene(frame.pixels.luma(), frame.media_time)


class Analyst(Protocol):
    """Who takes the cameras' frames out of their slots."""

    def wake(self) -> None:
        """A slot has something."""
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
    """Another box that reads this camera."""

    @property
    def hint(self) -> str:
        """What somebody should look at although frames arrive; empty where all is well."""
        return "; ".join(filter(None, (self._turned, OVERLOADED if self.handler.overloaded else "")))

    @property
    def _turned(self) -> str:
        turned = self.stages.orientation_degrees
        if not turned:
            return ""
        if turned == 180:
            return "the camera hangs upside down: faces are found only when its picture is turned by 180°"
        return (
            "the camera hangs on its side: faces are found only when its picture is turned counterclockwise "
            f"by {turned}°"
        )


class Supervisor:
    def __init__(
        self,
        models: Models,
        defaults: PipelineSettings,
        analysis: Analyst,
        metrics: Metrics,
        crashes: CrashNotes | None = None,
    ) -> None:
        self._models = models
        self._defaults = defaults
        self._analysis = analysis
        self._metrics = metrics
        self._crashes = crashes
        # One more than there are cores, so that none is idle while a thread comes and goes.
        self._decode_limiter = BoundedSemaphore(len(os.sched_getaffinity(0)) + 1)
        self._running: dict[str, RunningCamera] = {}

    async def apply(
        self,
        wanted: Sequence[CameraSettings],
        read_elsewhere: Mapping[str, str] | None = None,
        stop_seconds: float = 2.0,
    ) -> None:
        """Let exactly these cameras run; those whose settings are the same are not touched.

        `read_elsewhere`: ids of cameras that another box reads, and that box's name; these wait.
        """
        elsewhere = read_elsewhere or {}
        before = [Assignment(one.settings, one.read_by) for one in self._running.values()]
        after = [Assignment(one, elsewhere.get(one.id, "")) for one in wanted]
        change = roster.diff(before, after)
        if change:
            told = {kind: list(cam_ids) for kind, cam_ids in asdict(change).items() if cam_ids}
            log.info("these cameras change", **told)
        leaving = [self._running[cam_id] for cam_id in (*change.removed, *change.changed)]
        for camera in leaving:
            camera.handler.ask_to_stop()
        coming = {one.id: self._prepared(one) for one in after if one.id in (*change.added, *change.changed)}
        # Whoever is wanted shows all the time, though those before them may take theirs to end.
        self._running = {one.id: coming.get(one.id) or self._running[one.id] for one in wanted}
        self.status()  # the metrics hear of it, too
        await self._ended(leaving, stop_seconds)
        for cam_id in change.removed:
            self._metrics.forget_camera(cam_id)
        for camera in coming.values():
            self._start(camera)

    def posting_failed(self, message: str) -> None:
        """What any camera sees cannot be posted at present."""
        for camera in self._running.values():
            camera.handler.report_posting_error(message)

    async def probe_reachability(self) -> None:
        """For ever: open those cameras anew that are back while their old connection stays silent."""
        await ReachabilityProbe(lambda: [camera.handler for camera in self._running.values()]).run()

    async def stop(self, timeout_seconds: float) -> None:
        """End them all. They still show, as stopped."""
        leaving = list(self._running.values())
        for camera in leaving:
            camera.handler.ask_to_stop()
        await self._ended(leaving, timeout_seconds)

    def status(self) -> list[CameraReport]:
        """Each camera's status, in the order of the settings."""
        return [
            CameraReport.model_validate({**asdict(camera.handler.status), "hint": camera.hint})
            for camera in self._running.values()
        ]

    def overloaded(self) -> dict[str, float]:
        """1 for each camera of which not everything is decoded for lack of time, 0 for the others."""
        return {camera.settings.id: float(camera.handler.overloaded) for camera in self._running.values()}

    def hung(self) -> tuple[CameraSettings, float] | None:
        """A camera whose thread hangs, and for how many seconds; None where all go on."""
        for camera in self._running.values():
            if seconds := camera.handler.hung_seconds():
                return camera.settings, seconds
        return None

    def _prepared(self, assignment: Assignment) -> RunningCamera:
        """A camera that is about to be opened, or grey where it is disabled or another box reads it."""
        settings, read_by = assignment.settings, assignment.read_by
        self._metrics.add_camera(settings.id)
        slot = LatestFrame(settings.id, self._metrics, on_ready=self._analysis.wake)
        stages = CameraStages(
            settings.id,
            self._models,
            self._defaults.for_camera(settings),
            self._metrics,
            motion_gate() if self._defaults.motion_gate else None,
        )
        held = self._crashes.held_seconds(settings) if self._crashes else 0.0
        decode_load = DecodeLoad(self._decode_limiter)
        open_source = partial(FFmpegSource, in_view=lambda: stages.in_view, decode_load=decode_load)
        handler = CameraHandler(
            settings,
            slot,
            self._metrics,
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

    async def _ended(self, cameras: Sequence[RunningCamera], timeout_seconds: float) -> None:
        """Wait for the threads' ends, for so long in all, however many hang in a connect."""
        end = time.monotonic() + timeout_seconds

        def wait() -> None:
            for camera in cameras:
                camera.handler.join(max(0.0, end - time.monotonic()))

        await in_thread(wait, "end of cameras")
        for camera in cameras:
            self._analysis.remove(camera.settings.id)
