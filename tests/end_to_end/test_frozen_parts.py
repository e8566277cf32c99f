"""SIGTERM while other processes are frozen."""

from pathlib import Path

import pytest

from tests.frozen_parts import stopped


@pytest.mark.parametrize(
    "names",
    [
        ("private_mongod", "camera", "slow_handler"),
        ("external_mongod", "slow_hook", "slow_body"),
        ("store_at_start", "camera", "reload"),
        ("slow_disk", "blocked_loop"),
    ],
    ids=" and ".join,
)
def test_what_is_frozen_does_not_hold_up_the_end(
    short_clip: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Status 0 within nine seconds; nothing that was accepted is lost, and no mongod is left."""
    end = stopped(names, short_clip, tmp_path)
    assert (end.status, end.lost, end.mongods_left) == (0, 0, 0), end
    assert end.seconds < 9, end
    assert end.accepted
