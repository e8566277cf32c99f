"""A spool for a test."""

from pathlib import Path

import pytest

from store.observer import UnobservedStore
from store.spool.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
