"""Analyses the cameras of a scene in lockstep, which makes evaluations repeatable.

Frames are analysed in the order of media time, and each sighting is stored before the next frame is analysed.
Recordings that play at full speed drift apart, differently in every run, and the order of sightings decides
which persons are created.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cameras.latest_frame import EndOfStream, LatestFrame
from pipeline.stages import CameraStages
from pipeline.types import Frame, Sighting


@dataclass(eq=False)
class _Camera:
    """One camera and its next frame."""

    frames: LatestFrame
    stages: CameraStages
    next: Frame | EndOfStream | None = None
    media_time: float = 0.0
    ended: bool = False

    def fetch_next(self) -> bool:
        """Fetch the next frame; returns whether it, or the end of the recording, is known."""
        if self.next is None and not self.ended:
            closed = self.frames.closed  # read first, so that a frame put before the closing is found
            self.next = self.frames.take()
            self.ended = closed and self.next is None
            if isinstance(self.next, Frame):
                self.media_time = self.next.media_time
        return self.ended or self.next is not None


class Lockstep:
    """Replaces the daemon's analysis thread. Every camera must be added before `run`."""

    def __init__(
        self, started_at: datetime, store: Callable[[Sighting], None], progress: Callable[[float], None]
    ) -> None:
        """`store` returns once the sighting is stored; `progress` is called with the media time."""
        self._started_at = started_at
        self._store = store
        self._progress = progress
        self._cameras: list[_Camera] = []
        self._ready = threading.Condition()
        self._has_new_frame = False
        self._stopping = False

    def add(self, cam_id: str, frames: LatestFrame, stages: CameraStages) -> None:
        self._cameras.append(_Camera(frames, stages))

    def remove(self, cam_id: str) -> None:
        """Nothing to do: a recording ends by itself."""

    def wake(self) -> None:
        """Called when a camera has a new frame."""
        with self._ready:
            self._has_new_frame = True
            self._ready.notify()

    def stop(self) -> None:
        """Make `run` return after the current frame."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Analyse every frame of every camera; block until all recordings have ended."""
        while not self._stopping:
            with self._ready:
                self._has_new_frame = False
            known = [camera.fetch_next() for camera in self._cameras]
            if not all(known):
                with self._ready:
                    self._ready.wait_for(lambda: self._has_new_frame)
                continue
            playing = [camera for camera in self._cameras if not camera.ended]
            if not playing:
                return
            self._serve(min(playing, key=lambda camera: camera.media_time))

    def _serve(self, camera: _Camera) -> None:
        item, camera.next = camera.next, None
        if isinstance(item, Frame):
            # Recordings are opened one after another, but were recorded at the same time.
            at = self._started_at + timedelta(seconds=item.media_time)
            sightings = camera.stages.process(replace(item, captured_at=at))
            self._progress(item.media_time)
        else:
            sightings = camera.stages.finish()
        for sighting in sightings:
            self._store(sighting)
