"""What sinks announce of a camera."""

from dataclasses import dataclass

from cameras.observer import CameraState


@dataclass(frozen=True, slots=True)
class AnnouncedCamera:
    id: str
    name: str
    state: CameraState

    @property
    def online(self) -> bool:
        return self.state in (CameraState.GREEN, CameraState.YELLOW)
