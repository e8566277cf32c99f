"""What `/status` shows: the daemon, its cameras and its parts at one moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from cameras.observer import CameraState


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class CameraReport(Report):
    """A camera, as in `cameras.observer.CameraStatus`, with what the daemon adds."""

    cam_id: str
    state: CameraState
    reason: str
    """One word; empty for green."""
    detail: str
    since: datetime
    url: str
    """Masked."""
    frames_decoded: int
    reconnects: int
    last_frame_at: datetime | None
    width: int | None
    height: int | None
    fps: float | None
    codec: str | None
    hint: str = ""
    """What an operator should mend although frames arrive."""
    source: str = ""
    """`settings` or `collection`."""


class StoreReport(Report):
    ready: bool
    trouble: str
    changes_not_seen: str
    """Why changes by other processes are not seen."""
    malformed_documents: Mapping[str, float]
    """By collection; only those above 0."""


class SpoolReport(Report):
    sightings: int
    bytes: int
    max_bytes: int
    dropped: int
    oldest_seconds: float
    fault: str | None
    set_aside: int
    """Sightings that failed and wait for their next attempt while others go on."""


class DiskReport(Report):
    """A disk as of the last check; the sizes are None if its folder cannot be read."""

    folder: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    reserve_bytes: int | None = None
    warning: str = ""


class JobReport(Report):
    runs: int
    failures: int
    last_run: datetime | None
    last_error: str
    next_run: datetime | None


class PluginReport(Report):
    name: str
    state: str
    error: str
    error_at: datetime | None
    failures: int
    refused: Mapping[str, int]
    """Refused sightings by reason."""
    lost: int
    """Sightings that the plugin was too slow to receive."""


class DaemonReport(Report):
    version: str
    started_at: datetime
    summary: str
    cameras: Sequence[CameraReport]
    configuration: Mapping[str, str]
    """Why `settings` and `collection` are not in effect as they are now; empty if they are."""
    store: StoreReport
    spool: SpoolReport
    disks: Sequence[DiskReport]
    jobs: Mapping[str, JobReport]
    plugins: Sequence[PluginReport]
