"""What a camera tells about itself while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class CameraState(StrEnum):
    GREEN = "green"
    """Frames arrive."""
    YELLOW = "yellow"
    """Less than 30 s of trouble, or what it saw cannot be posted."""
    RED = "red"
    """Down."""
    GREY = "grey"
    """Not read: disabled, stopped, read by another box, or a recording that was played to its end."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera at one moment. Holds nothing secret."""

    cam_id: str
    state: CameraState
    reason: str
    """One word: a `cameras.errors.Reason`, or connecting, disabled, elsewhere, stopped, ended,
    posting; "" for green."""
    detail: str
    """A sentence for people, "" when there is nothing to say."""
    since: datetime
    """When it came into this state, UTC."""
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
    """Who wants to know what the cameras do; called on the cameras' threads, so it must not block."""

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None:
        """Frames were decoded since it was told last, each within so many seconds."""
        ...

    def skipped(self, cam_id: str, reason: str) -> None:
        """A frame will never be analysed: busy (a newer one came first, or there was no time to decode it) or
        corrupt."""
        ...

    def reconnect(self, cam_id: str, reason: str) -> None:
        """A camera that was lost for this reason is about to be opened again."""
        ...

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        """The camera came into this state."""
        ...


class UnobservedCamera:
    """An observer that does not look."""

    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None: ...
    def reconnect(self, cam_id: str, reason: str) -> None: ...
    def state(self, cam_id: str, state: CameraState, reason: str) -> None: ...
