"""The cameras of a scene in step: their frames are analysed in the order of media time, and each sighting is
stored before the next frame is looked at.

Recordings that play as fast as they can drift apart, differently in every run, and who becomes a person
first depends on whose sighting comes first. In step, the same clips make the same persons.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cameras.latest_frame import EndOfStream, LatestFrame
from pipeline.stages import CameraStages
from pipeline.types import Frame, Sighting


@dataclass(eq=False)
class _Line:
    """One camera, and what comes next from it."""

    slot: LatestFrame
    stages: CameraStages
    next: Frame | EndOfStream | None = None
    media_time: float = 0.0
    over: bool = False

    def look(self) -> bool:
        """Whether it is known what comes next, be it nothing."""
        if self.next is None and not self.over:
            closed = self.slot.closed  # before the look: what was put before is found by it
            self.next = self.slot.take()
            self.over = closed and self.next is None
            if isinstance(self.next, Frame):
                self.media_time = self.next.media_time
        return self.over or self.next is not None


class Lockstep:
    """Takes the place of the daemon's analysis thread. Every camera has to be added before `run`."""

    def __init__(
        self, began: datetime, store: Callable[[Sighting], None], progress: Callable[[float], None]
    ) -> None:
        """`store` keeps a sighting and returns when it is stored; `progress` is told the media time."""
        self._began = began
        self._store = store
        self._progress = progress
        self._lines: list[_Line] = []
        self._ready = threading.Condition()
        self._woken = False
        self._stopping = False

    def add(self, cam_id: str, slot: LatestFrame, stages: CameraStages) -> None:
        self._lines.append(_Line(slot, stages))

    def remove(self, cam_id: str) -> None:
        """Nothing to do: recordings that were played to their end have left by themselves."""

    def wake(self) -> None:
        """A slot has something: the slots call this."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def stop(self) -> None:
        """Let `run` return after the frame in work."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Analyse every frame of every camera; returns when all recordings have ended. Blocks."""
        while not self._stopping:
            with self._ready:
                self._woken = False
            known = [line.look() for line in self._lines]
            if not all(known):
                with self._ready:
                    self._ready.wait_for(lambda: self._woken)
                continue
            going = [line for line in self._lines if not line.over]
            if not going:
                return
            self._serve(min(going, key=lambda line: line.media_time))

    def _serve(self, line: _Line) -> None:
        item, line.next = line.next, None
        if isinstance(item, Frame):
            # The recordings began when they were opened, a moment apart; in the scene they began together.
            at = self._began + timedelta(seconds=item.media_time)
            sightings = line.stages.process(replace(item, captured_at=at))
            self._progress(item.media_time)
        else:
            sightings = line.stages.finish()
        for sighting in sightings:
            self._store(sighting)
