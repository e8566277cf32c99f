"""The state of a camera and its events, for other packages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class CameraState(StrEnum):
    GREEN = "green"
    """Frames arrive."""
    YELLOW = "yellow"
    """Less than 30 s of trouble, damaged pictures, or posting errors."""
    RED = "red"
    """Down."""
    GREY = "grey"
    """Not read: disabled, stopped, read by another box, or a recording that ended."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """Snapshot of one camera. Holds no secrets."""

    cam_id: str
    state: CameraState
    reason: str
    """A `cameras.errors.Reason`, or connecting, disabled, elsewhere (read by another box), stopped, ended,
    posting; "" for green."""
    detail: str
    """Explanation for operators; "" if there is none."""
    since: datetime
    """When this state began, UTC."""
    url: str
    """Masked."""
    frames_decoded: int
    reconnects: int
    last_frame_at: datetime | None
    """UTC."""
    width: int | None
    height: int | None
    fps: float | None
    codec: str | None


class CameraObserver(Protocol):
    """Receives events of cameras, on the cameras' threads; must not block."""

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None:
        """Frames were decoded since the last call; `seconds` has the decode time of each."""
        ...

    def skipped(self, cam_id: str, reason: str) -> None:
        """A frame is skipped. `reason`: busy (replaced by a newer frame, or not decoded in time) or
        corrupt."""
        ...

    def reconnect(self, cam_id: str, reason: str) -> None:
        """A camera that was lost for this reason is about to be reopened."""
        ...

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        """The camera's state or reason changed."""
        ...


class UnobservedCamera:
    """An observer that ignores everything."""

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None: ...
    def reconnect(self, cam_id: str, reason: str) -> None: ...
    def state(self, cam_id: str, state: CameraState, reason: str) -> None: ...
