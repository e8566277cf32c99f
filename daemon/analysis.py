"""The analysis thread, which serves all cameras in turn, and cameras with an ongoing visit more often.

Each camera has a slot with its latest frame, and its own `CameraStages`, which turn frames into sightings. A
sighting is spooled before the next frame is taken.
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

MAX_WAITING_SIGHTINGS = 64
"""Maximum number of sightings kept in memory while the spool cannot be written; about 20 MB of photos."""

RETRY_SECONDS = 1.0


@dataclass(eq=False)
class Channel:
    """One camera's slot and stages."""

    cam_id: str
    slot: LatestFrame
    stages: CameraStages
    leaving: bool = False


class Analysis:
    """The analysis thread. Methods may be called from any thread."""

    def __init__(self, spool: Spool, metrics: Metrics, on_crash: Callable[[BaseException], None]) -> None:
        self._spool = spool
        self._metrics = metrics
        self._on_crash = on_crash
        self._ready = threading.Condition()
        self._woken = False
        self._channels: list[Channel] = []
        self._waiting: deque[Sighting] = deque()
        self._retry_at = 0.0
        self._lost = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self.progress_at = time.monotonic()
        """Monotonic time at which the thread last began a frame or a round."""
        self.current_camera = ""
        """Id of the camera whose frame is being analysed."""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A frame has arrived; called by the slots."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def add(self, cam_id: str, slot: LatestFrame, stages: CameraStages) -> None:
        with self._ready:
            self._channels.append(Channel(cam_id, slot, stages))

    def remove(self, cam_id: str) -> None:
        """Analyse the camera's last frame, finish its visits, and forget it."""
        with self._ready:
            for channel in self._channels:
                channel.leaving |= channel.cam_id == cam_id
            self._woken = True
            self._ready.notify()

    def stop(self, timeout_seconds: float) -> bool:
        """Finish all visits, spool the last sightings, and end. False if that took too long."""
        with self._ready:
            self._stopping = self._woken = True
            self._ready.notify()
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._serve_all():
                pass
        except BaseException as error:  # noqa: BLE001 - an error must end the process, not only the thread
            self._on_crash(error)

    def _serve_all(self) -> bool:
        """Serve each camera once; False when the thread may end."""
        self.progress_at = time.monotonic()
        with self._ready:
            stopping, channels = self._stopping, list(self._channels)
            # Cleared before the slots are read, so that no frame is missed.
            self._woken = False
        worked = False
        for channel in channels:
            if self._serve(channel, last=stopping):
                worked = True
                self._serve_busy(channels, served=channel)
        self._spool_waiting()
        if worked:
            return True
        if stopping:
            self._discard_waiting()
            return False
        with self._ready:
            self._ready.wait_for(lambda: self._woken, RETRY_SECONDS)
        return True

    def _serve_busy(self, channels: Sequence[Channel], *, served: Channel) -> None:
        """Serve the cameras with an ongoing visit, which is done after each other camera."""
        for channel in channels:
            if channel is not served and channel.stages.busy and not channel.leaving and channel.slot.waiting:
                self._serve(channel, last=False)

    def _serve(self, channel: Channel, *, last: bool) -> bool:
        """Analyse the next item in the slot; returns whether there was one."""
        self.progress_at, self.current_camera = time.monotonic(), channel.cam_id
        leaving = last or channel.leaving  # read before the slot, so that its last frame is found
        item = channel.slot.take()
        if item is None:
            if leaving:
                self._accept(channel.stages.finish())
                with self._ready:
                    self._channels.remove(channel)
                log.debug("a camera's last visits are finished", camera=channel.cam_id)
            return False
        if isinstance(item, EndOfStream):
            self._accept(channel.stages.finish())
            return True
        self._accept(channel.stages.process(item))
        self._metrics.frame_age(channel.cam_id, item.captured_at)
        return True

    def _accept(self, sightings: list[Sighting]) -> None:
        self._waiting.extend(sightings)
        self._spool_waiting()

    def _spool_waiting(self) -> None:
        """Spool the waiting sightings. While that fails, the best are kept in memory and retried."""
        if time.monotonic() < self._retry_at and not self._stopping:
            return
        while self._waiting:
            try:
                sighting_id = self._spool.put(self._waiting[0])
            except SpoolError as error:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                log.debug("a sighting waits for the spool", reason=str(error), waiting=len(self._waiting))
                break
            self._report_lost()
            accepted = self._waiting.popleft()
            log.debug("sighting accepted", sighting=sighting_id, camera=accepted.cam_id)
        while len(self._waiting) > MAX_WAITING_SIGHTINGS:
            worst = min(range(len(self._waiting)), key=lambda index: self._waiting[index].score)
            self._count_lost(self._waiting[worst])
            del self._waiting[worst]

    def _discard_waiting(self) -> None:
        while self._waiting:
            self._count_lost(self._waiting.popleft())
        self._report_lost()

    def _count_lost(self, sighting: Sighting) -> None:
        """Count a lost sighting; the first is logged, and the total at the end."""
        self._metrics.sighting(sighting.cam_id, "dead")
        if not self._lost:
            log.error("sightings are lost: the spool cannot be written", camera=sighting.cam_id)
        self._lost += 1

    def _report_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            log.warning("sightings were lost while the spool could not be written", sightings=lost)
