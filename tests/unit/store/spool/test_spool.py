"""The spool: put, get, done and dead."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.types import Sighting
from store.spool import codec as sighting_file
from tests.sightings import START, assert_same, sighting
from tests.spools import SightingOutcomes, open_spool


def test_returns_what_was_put(tmp_path: Path) -> None:
    """A sighting is returned with all fields unchanged, including microseconds and facen bits."""
    spool = open_spool(tmp_path)
    put = sighting(3, look=2)
    assert_same(spool.get(spool.put(put)), put)


def test_keeps_sightings_over_a_restart_oldest_first(tmp_path: Path) -> None:
    """A new spool on the same folder has the same sightings, ordered by capture time."""
    first = open_spool(tmp_path)
    late, early = (first.put(sighting(1, captured_at=START + timedelta(hours=hours))) for hours in (2, 1))
    second = open_spool(tmp_path)
    assert second.pending() == [early, late]
    assert second.oldest() == early
    assert second.bytes_waiting == first.bytes_waiting > 0


def test_done_removes_a_sighting(tmp_path: Path) -> None:
    """A sighting that is done does not return after a restart; a second call changes nothing."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    spool.done(sighting_id)
    spool.done(sighting_id)
    assert (spool.pending(), spool.bytes_waiting, len(spool)) == ([], 0, 0)
    assert open_spool(tmp_path).pending() == []
    with pytest.raises(KeyError):
        spool.get(sighting_id)


def test_dead_moves_a_sighting_beside_its_reason(tmp_path: Path) -> None:
    """A dead sighting is moved to `dead` with its reason, and counted for its camera."""
    observer = SightingOutcomes()
    spool = open_spool(tmp_path, observer=observer)
    sighting_id = spool.put(sighting(cam_id="yard"))
    spool.dead(sighting_id, "its photo is no picture")
    dead = tmp_path / "spool" / "dead"
    assert (dead / f"{sighting_id}.sighting.reason").read_text() == "its photo is no picture\n"
    assert sighting_file.read_head(dead / f"{sighting_id}.sighting").cam_id == "yard"
    assert (spool.pending(), spool.bytes_waiting) == ([], 0)
    assert observer.outcomes == [("yard", "dead")]
    assert spool.remove_dead(3600) == 0
    assert spool.remove_dead(-1) == 1
    assert list(dead.iterdir()) == []


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/b", "", "000000000000001_" + "0" * 31 + "/", ".."])
def test_refuses_invalid_ids(tmp_path: Path, bad: str) -> None:
    """Ids that the spool did not create reach no file."""
    spool = open_spool(tmp_path)
    outside = tmp_path / "passwd"
    outside.write_text("kept")
    with pytest.raises(KeyError):
        spool.get(bad)
    with pytest.raises(ValueError, match="not the id of a sighting"):
        spool.done(bad)
    with pytest.raises(ValueError, match="not the id of a sighting"):
        spool.dead(bad, "no reason")
    assert outside.read_text() == "kept"


def test_calls_on_put_after_each_sighting(tmp_path: Path) -> None:
    """The callback runs when the sighting can be read."""
    spool = open_spool(tmp_path)
    seen: list[list[str]] = []
    spool.on_put = lambda: seen.append(spool.pending())
    first = spool.put(sighting(1))
    assert seen == [[first]]


def test_is_thread_safe(tmp_path: Path) -> None:
    """Sightings put from eight threads are all pending, with different ids, and sizes add up."""
    spool = open_spool(tmp_path)
    ids: list[str] = []
    small = [sighting(person, photo_bytes=b"p", normalized_bytes=b"n") for person in range(8)]

    def put(one: Sighting) -> None:
        ids.extend(spool.put(one) for _ in range(5))

    threads = [threading.Thread(target=put, args=(one,)) for one in small]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    assert sorted(ids) == spool.pending() == open_spool(tmp_path).pending()
    assert spool.bytes_waiting == sum(path.stat().st_size for path in (tmp_path / "spool").glob("*.sighting"))


def test_oldest_seconds_is_the_age_of_the_oldest(tmp_path: Path) -> None:
    """The age counts from the capture; an empty spool has age 0."""
    spool = open_spool(tmp_path)
    assert spool.oldest_seconds() == 0
    spool.put(sighting(captured_at=START))
    assert spool.oldest_seconds() > 3600


def test_refuses_a_time_without_zone(tmp_path: Path) -> None:
    """A capture time without a zone would be ambiguous."""
    with pytest.raises(ValueError, match="time zone"):
        open_spool(tmp_path).put(sighting(captured_at=START.replace(tzinfo=None)))
