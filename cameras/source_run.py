"""One run of a camera's source: opens it, reads it to its end, and reports what happens.

A run does not retry and does not know the camera's state or other runs. The handler interprets its reports,
and ignores those of a run that it has given up.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from cameras.errors import Reason, SourceError
from cameras.latest_frame import FrameWriter
from cameras.settings import CameraSettings
from cameras.status.watchdog import Watchdog
from cameras.stream import DecodedFrame, Stream, StreamInfo, UndecodedPacket

FIRST_PICTURE_SECONDS = 30.0
"""Maximum time with packets but without a first picture."""

KEY_FRAME_SECONDS = 300.0
"""Maximum time without a first picture while no key frame has arrived. With a smart codec a key frame may
take minutes, and a new connection would restart the wait."""

FPS_WINDOW_SECONDS = 2.0
"""Minimum time over which the frame rate is measured if the stream has no metadata."""

STEADY_SECONDS = 10.0
"""After receiving frames for this time, a run is steady: the handler resets its backoff."""


class RunListener(Protocol):
    """Receives the reports of a run, on the run's thread."""

    def opened(self, run: "SourceRun", info: StreamInfo) -> None: ...
    def frame(self, run: "SourceRun", frame: DecodedFrame, info: StreamInfo) -> None:
        """May block until the frame is due and, for lossless recordings, until the slot is free."""
        ...

    def undecoded(self, run: "SourceRun", packet: UndecodedPacket) -> None:
        """May block until the packet is due."""
        ...

    def damaged(self, run: "SourceRun") -> None: ...
    def awaiting_key_frame(self, run: "SourceRun", seconds: float) -> None:
        """Packets have arrived for `seconds`, but no undamaged key frame; called for each packet."""
        ...

    def fps_measured(self, run: "SourceRun", fps: float) -> None: ...
    def steady(self, run: "SourceRun") -> None:
        """Frames have arrived for STEADY_SECONDS; called repeatedly."""
        ...


class SourceRun:
    """Reads one camera on one thread, until it is stopped or given up."""

    def __init__(
        self,
        settings: CameraSettings,
        generation: int,
        writer: FrameWriter,
        open_source: Callable[[CameraSettings], Stream],
        listener: RunListener,
        patient: bool = False,
    ) -> None:
        """patient: see `Watchdog`."""
        self.generation = generation
        self.writer = writer
        self.stopping = threading.Event()
        self.watchdog = Watchdog(settings, patient)
        self._settings = settings
        self._open_source = open_source
        self._listener = listener

    def play(self) -> int:
        """Open the source and read it to its end, or until `stopping` is set; returns the number of frames.

        Raises:
            SourceError: the source cannot be opened, breaks or stalls.
        """
        self.watchdog.connecting()
        source = self._open_source(self._settings)
        try:
            if self.stopping.is_set():
                return 0
            self._listener.opened(self, source.info)
            self.watchdog.connected(live=not source.info.recorded)
            return self._read(source)
        finally:
            source.close()

    def _read(self, source: Stream) -> int:
        info = source.info
        frames = on_time = 0
        began = last = time.monotonic()
        for item in source.frames():
            if self.stopping.is_set():
                break
            now = self.watchdog.progress()
            if isinstance(item, UndecodedPacket):
                on_time += 1
                self._listener.undecoded(self, item)
                last = time.monotonic()
                continue
            if not isinstance(item, DecodedFrame):
                if item.corrupt:
                    self._listener.damaged(self)
                if item.awaits_key_frame:
                    self._listener.awaiting_key_frame(self, now - began)
                self._check_silence(now - last, frames, info, item.awaits_key_frame)
                continue
            frames += 1
            on_time += not item.late
            self.watchdog.picture()
            self._listener.frame(self, item, info)
            last = time.monotonic()
            if info.fps is None and last - began >= FPS_WINDOW_SECONDS:
                self._listener.fps_measured(self, on_time / (last - began))
            if last - began > STEADY_SECONDS:
                self._listener.steady(self)
        return frames

    def _check_silence(self, seconds: float, frames: int, info: StreamInfo, awaits_key_frame: bool) -> None:
        """Raises SourceError if packets, but no pictures, have arrived for too long."""
        limit = self._settings.read_timeout_seconds
        if frames == 0:
            limit = max(limit, KEY_FRAME_SECONDS if awaits_key_frame else FIRST_PICTURE_SECONDS)
        if seconds > limit and not info.recorded:
            message = f"{self._settings.masked_url}: packets arrive, but no picture for {limit:g} s"
            raise SourceError(Reason.STALLED, message)
