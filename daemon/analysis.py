"""The shared inference worker: one thread that takes the cameras in turn, and some more often.

Frames arrive in the cameras' slots; each camera's own `CameraStages` makes sightings
of them; the spool makes those safe before the next frame is taken.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from cameras.latest_frame import EndOfStream, LatestFrame
from daemon.runtime.metrics import Metrics
from pipeline.stages import CameraStages
from pipeline.types import Sighting
from store.spool.spool import Spool, SpoolError

log = structlog.get_logger(__name__)

WAITING_SIGHTINGS = 64
"""Sightings kept in memory while the spool cannot be written; a photo each, some 20 MB in all."""

RETRY_SECONDS = 1.0


@dataclass(eq=False)
class Line:
    """One camera's way through the analysis."""

    cam_id: str
    slot: LatestFrame
    stages: CameraStages
    leaving: bool = False


class Analysis:
    """Start it, add cameras, stop it. Methods may be called from any thread."""

    def __init__(self, spool: Spool, metrics: Metrics, on_crash: Callable[[BaseException], None]) -> None:
        self._spool = spool
        self._metrics = metrics
        self._on_crash = on_crash
        self._ready = threading.Condition()
        self._woken = False
        self._lines: list[Line] = []
        self._waiting: deque[Sighting] = deque()
        self._retry_at = 0.0
        self._lost = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self.turned_at = time.monotonic()
        """When it last began with a camera's frame, or with a turn that found nothing to do."""
        self.busy_with = ""
        """The camera that it began with."""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A slot has something: the slots call this."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def add(self, cam_id: str, slot: LatestFrame, stages: CameraStages) -> None:
        with self._ready:
            self._lines.append(Line(cam_id, slot, stages))

    def remove(self, cam_id: str) -> None:
        """Finish the camera's visits and forget it; what its slot still holds is analysed first."""
        with self._ready:
            for line in self._lines:
                line.leaving |= line.cam_id == cam_id
            self._woken = True
            self._ready.notify()

    def stop(self, timeout_seconds: float) -> bool:
        """Finish every visit, hand over the last sightings and end. False if that took too long."""
        with self._ready:
            self._stopping = self._woken = True
            self._ready.notify()
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - a thread's fault must end the process, not the thread
            self._on_crash(error)

    def _turn(self) -> bool:
        """Give every camera its turn once; False when there is nothing left to do, for ever."""
        self.turned_at = time.monotonic()
        with self._ready:
            stopping, lines = self._stopping, list(self._lines)
            # Before we look, so that what arrives while we look is not missed.
            self._woken = False
        worked = False
        for line in lines:
            if self._serve(line, last=stopping):
                worked = True
                self._serve_busy(lines, line)
        self._hand_over()
        if worked:
            return True
        if stopping:
            self._give_up_waiting()
            return False
        with self._ready:
            self._ready.wait_for(lambda: self._woken, RETRY_SECONDS)
        return True

    def _serve_busy(self, lines: Sequence[Line], but: Line) -> None:
        """A camera with somebody in view has a turn after each of the others, not after all of them."""
        for line in lines:
            if line is not but and line.stages.busy and not line.leaving and line.slot.waiting:
                self._serve(line, last=False)

    def _serve(self, line: Line, *, last: bool) -> bool:
        """Analyse what the slot holds; whether it held something."""
        self.turned_at, self.busy_with = time.monotonic(), line.cam_id
        leaving = last or line.leaving  # before the look: what was put before is found by it
        item = line.slot.take()
        if item is None:
            if leaving:
                self._accept(line.stages.finish())
                with self._ready:
                    self._lines.remove(line)
                log.debug("camera's last visits are finished", camera=line.cam_id)
            return False
        if isinstance(item, EndOfStream):
            self._accept(line.stages.finish())
            return True
        self._accept(line.stages.process(item))
        self._metrics.frame_age(line.cam_id, item.captured_at)
        return True

    def _accept(self, sightings: list[Sighting]) -> None:
        self._waiting.extend(sightings)
        self._hand_over()

    def _hand_over(self) -> None:
        """Into the spool; while that fails the best are kept in memory and tried again."""
        if time.monotonic() < self._retry_at and not self._stopping:
            return
        while self._waiting:
            try:
                sighting_id = self._spool.put(self._waiting[0])
            except SpoolError as error:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                log.debug("a sighting waits for the spool", reason=str(error), waiting=len(self._waiting))
                break
            self._tell_lost()
            accepted = self._waiting.popleft()
            log.debug("sighting accepted", sighting=sighting_id, camera=accepted.cam_id)
        while len(self._waiting) > WAITING_SIGHTINGS:
            worst = min(range(len(self._waiting)), key=lambda index: self._waiting[index].score)
            self._lose(self._waiting[worst])
            del self._waiting[worst]

    def _give_up_waiting(self) -> None:
        while self._waiting:
            self._lose(self._waiting.popleft())
        self._tell_lost()

    def _lose(self, sighting: Sighting) -> None:
        """Counted for each; the log hears of the first, and at the end of how many it were."""
        self._metrics.sighting(sighting.cam_id, "dead")
        if not self._lost:
            log.error("sightings are lost: the spool cannot be written", camera=sighting.cam_id)
        self._lost += 1

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            log.warning("sightings were lost while the spool could not be written", sightings=lost)
