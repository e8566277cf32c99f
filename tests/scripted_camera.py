"""A camera whose source is a script, so that tests choose times and faults."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cameras.errors import Reason, SourceError
from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState, UnobservedCamera
from cameras.settings import CameraSettings
from cameras.stream import DecodedFrame, NoFrame, StreamInfo, UndecodedPacket
from pipeline.base.backoff import Backoff
from pipeline.types import ArrayPixels

PIXELS = ArrayPixels(np.zeros((4, 6, 3), np.uint8))
LIVE = StreamInfo("h264", 6, 4, 25.0, recorded=False)
RECORDED = StreamInfo("h264", 6, 4, 25.0, recorded=True)
Step = DecodedFrame | NoFrame | UndecodedPacket | SourceError | Callable[[], None]


def picture(seconds: float | None = None) -> DecodedFrame:
    return DecodedFrame(PIXELS, seconds, time.time(), 0.001)


def fault(reason: Reason) -> SourceError:
    return SourceError(reason, f"rtsp://***@host/live: {reason}")


class Script:
    """Opens the scripted sources in order, then the last one repeatedly."""

    def __init__(self, *plays: Sequence[Step] | SourceError, info: StreamInfo = LIVE) -> None:
        self.plays, self.info = plays, info
        self.opened = 0
        self.closed = 0

    def __call__(self, settings: CameraSettings) -> "ScriptedSource":
        play = self.plays[min(self.opened, len(self.plays) - 1)]
        self.opened += 1
        if isinstance(play, SourceError):
            raise play
        return ScriptedSource(self, play)


class ScriptedSource:
    def __init__(self, script: Script, steps: Sequence[Step]) -> None:
        self.script, self.steps, self.info = script, steps, script.info

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        for step in self.steps:
            if isinstance(step, SourceError):
                raise step
            if callable(step):
                step()
            else:
                yield step

    def close(self) -> None:
        self.script.closed += 1


class Notes(UnobservedCamera):
    """An observer that keeps everything it is called with."""

    def __init__(self) -> None:
        self.decoded = 0
        self.skips: list[str] = []
        self.reconnects: list[str] = []
        self.states: list[str] = []
        self.changed = threading.Condition()

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None:
        self.decoded += len(seconds)

    def skipped(self, cam_id: str, reason: str) -> None:
        self.skips.append(reason)

    def reconnect(self, cam_id: str, reason: str) -> None:
        with self.changed:
            self.reconnects.append(reason)
            self.changed.notify_all()

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        with self.changed:
            self.states.append(f"{state}:{reason}" if reason else str(state))
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 10), (self.states, self.reconnects)


def settings(**given: object) -> CameraSettings:
    return CameraSettings.model_validate({"id": "hall", "url": "rtsp://cam:s3cr3t@host/live", **given})


class QuickBackoff(Backoff):
    def __init__(self) -> None:
        super().__init__(0.01, 0.01)


def handler(script: Script, notes: Notes, slot: LatestFrame | None = None, **given: object) -> CameraHandler:
    return CameraHandler(settings(**given), slot or LatestFrame("hall", notes), notes, script, QuickBackoff())


def take_all(slot: LatestFrame) -> list[object]:
    """Everything that is in the slot now."""
    taken: list[object] = []
    while (item := slot.take()) is not None:
        taken.append(item)
    return taken
