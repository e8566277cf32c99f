"""The status of the daemon, its cameras and components at one moment, as in `/status` and the commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from cameras.observer import CameraStatus


@dataclass(frozen=True, slots=True)
class CameraReport(CameraStatus):
    """The status of a camera, with fields that the daemon adds."""

    hint: str = ""
    """A problem that an operator should fix although frames arrive."""
    source: str = ""
    """`settings` or `collection`."""


@dataclass(frozen=True, slots=True)
class StoreReport:
    ready: bool
    trouble: str
    changes_not_seen: str
    """Why changes by other processes are not received; empty if they are."""
    malformed_documents: Mapping[str, float]
    """By collection; only those above 0."""


@dataclass(frozen=True, slots=True)
class SpoolReport:
    sightings: int
    bytes: int
    max_bytes: int
    dropped: int
    oldest_seconds: float
    fault: str | None
    set_aside: int
    """Number of sightings that failed and wait for their next attempt while others are stored."""


@dataclass(frozen=True, slots=True)
class DiskReport:
    """A disk as of the last check; the sizes are None if its folder cannot be read."""

    folder: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    reserve_bytes: int | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class JobReport:
    runs: int = 0
    failures: int = 0
    last_run: datetime | None = None
    last_error: str = ""
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class PluginReport:
    name: str
    state: str
    """`loading`, `active`, `resting` or `failed`."""
    error: str
    """The last error in one line; empty if there was none."""
    error_at: datetime | None
    failures: int
    refused: Mapping[str, int]
    """Refused sightings by reason."""
    lost: int
    """Sightings that the plugin was too slow to receive."""


class DaemonReport(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: str
    started_at: datetime
    summary: str
    cameras: Sequence[CameraReport]
    configuration: Mapping[str, str]
    """Why the current `settings` and `collection` are not in effect; empty texts if they are."""
    store: StoreReport
    spool: SpoolReport
    disks: Sequence[DiskReport]
    jobs: Mapping[str, JobReport]
    plugins: Sequence[PluginReport]
