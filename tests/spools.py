"""Spools for tests."""

from pathlib import Path

import pytest

from store.observer import SightingOutcome, StoreObserver, UnobservedStore
from store.spool.spool import Spool


class SightingOutcomes(UnobservedStore):
    """Keeps camera and outcome of each sighting."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, SightingOutcome]] = []

    def sighting(self, cam_id: str, outcome: SightingOutcome) -> None:
        self.outcomes.append((cam_id, outcome))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool", 100_000_000, UnobservedStore())


def open_spool(folder: Path, max_bytes: int = 10_000_000, observer: StoreObserver | None = None) -> Spool:
    """The spool in `folder / "spool"`."""
    return Spool(folder / "spool", max_bytes, observer or UnobservedStore())


def only_file(folder: Path) -> Path:
    """The file of the only sighting in `folder / "spool"`."""
    (path,) = (folder / "spool").glob("*.sighting")
    return path
