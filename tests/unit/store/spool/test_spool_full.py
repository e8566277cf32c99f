"""A full spool: which sightings are evicted or refused."""

from datetime import timedelta
from pathlib import Path

import pytest

from store.errors import SpoolError
from store.spool import codec as sighting_file
from store.spool.spool import Spool
from tests.sightings import START, sighting
from tests.spools import SightingOutcomes, open_spool


def test_drop_poorest_evicts_the_oldest_of_the_poorest(tmp_path: Path) -> None:
    """Poor sightings are evicted before good ones, older before newer; each eviction is counted."""
    scores = [-0.1, -3.5, -3.2, -0.9]
    sightings = [
        sighting(number, score=score, cam_id=f"cam{number}", captured_at=START + timedelta(seconds=number))
        for number, score in enumerate(scores)
    ]
    room = sum(len(sighting_file.encode(one)) for one in sightings)
    observer = SightingOutcomes()
    spool = open_spool(tmp_path, room, observer)
    ids = [spool.put(one) for one in sightings]
    kept = []
    for number in range(4, 8):
        spool.put(sighting(number, score=-0.2, cam_id="new", captured_at=START + timedelta(seconds=number)))
        kept.append([id_ for id_ in ids if id_ in spool.pending()])
    assert kept[:2] == [[ids[0], ids[2], ids[3]], [ids[0], ids[3]]]
    assert kept[2] == [ids[3]]
    assert observer.outcomes[:3] == [("cam1", "dropped"), ("cam2", "dropped"), ("cam0", "dropped")]
    assert spool.bytes_waiting <= room
    on_disk = {path.stem for path in (tmp_path / "spool").glob("*.sighting")}
    assert on_disk == set(spool.pending())


def test_drop_oldest_evicts_regardless_of_the_score(tmp_path: Path) -> None:
    """`dropped` is the number of evictions until there is space again."""
    first, second, third = (
        sighting(number, score=score, captured_at=START + timedelta(seconds=number))
        for number, score in enumerate((-0.1, -3.5, -0.2))
    )
    observer = SightingOutcomes()
    spool = Spool(tmp_path / "spool", int(len(sighting_file.encode(first)) * 2.5), observer, "drop_oldest")
    spool.put(first)
    kept = [spool.put(second), spool.put(third)]
    assert spool.pending() == kept
    assert [outcome for _, outcome in observer.outcomes] == ["dropped"]
    assert spool.dropped == 1
    spool.done(kept[0])
    assert spool.dropped == 0


def test_keep_refuses_new_sightings(tmp_path: Path) -> None:
    """`fault` has the reason until there is space again."""
    one = sighting(1, score=-3.0)
    observer = SightingOutcomes()
    spool = Spool(tmp_path / "spool", int(len(sighting_file.encode(one)) * 1.5), observer, "keep")
    kept = spool.put(one)
    with pytest.raises(SpoolError, match="full"):
        spool.put(sighting(2, score=-0.1))
    assert spool.pending() == [kept]
    assert "full" in (spool.fault or "")
    assert observer.outcomes == []
    spool.done(kept)
    spool.put(sighting(3))
    assert spool.fault is None


def test_never_evicts_a_sighting_that_was_read(tmp_path: Path) -> None:
    """It stays until it is released, whatever its score; another one is evicted."""
    one = sighting(1, score=-9.0)
    spool = open_spool(tmp_path, int(len(sighting_file.encode(one)) * 2.5))
    taken = spool.put(one)
    spool.get(taken)
    other = spool.put(sighting(2, score=-0.1))
    spool.put(sighting(3))
    assert taken in spool.pending()
    assert other not in spool.pending()
    spool.release(taken)
    spool.put(sighting(4))
    assert taken not in spool.pending()


def test_refuses_a_sighting_larger_than_the_spool(tmp_path: Path) -> None:
    """The error names the setting, and nothing is evicted."""
    small = sighting(1, photo_bytes=b"p", normalized_bytes=b"n")
    spool = open_spool(tmp_path, len(sighting_file.encode(small)) + 10)
    kept = spool.put(small)
    with pytest.raises(SpoolError, match="max_bytes"):
        spool.put(sighting(2))
    assert spool.pending() == [kept]
