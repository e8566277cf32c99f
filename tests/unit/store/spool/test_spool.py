"""The durable queue between pipeline and store."""

import errno
import os
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import files
from pipeline.types import Sighting
from store.errors import MalformedSightingError, SpoolError
from store.observer import SightingOutcome, UnobservedStore
from store.spool import codec as sighting_file
from store.spool.spool import Spool
from tests.sightings import START, assert_same, sighting


class Counting(UnobservedStore):
    """Keeps what happened to sightings."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []

    def sighting(self, cam_id: str, outcome: SightingOutcome) -> None:
        self.outcomes.append((cam_id, outcome))


def open_spool(folder: Path, max_bytes: int = 10_000_000, observer: UnobservedStore | None = None) -> Spool:
    return Spool(folder / "spool", max_bytes, observer or UnobservedStore())


def only_file(folder: Path) -> Path:
    (path,) = (folder / "spool").glob("*.sighting")
    return path


def test_returns_what_was_put(tmp_path: Path) -> None:
    """A sighting comes back with every field as it was, microseconds and facen bits included."""
    spool = open_spool(tmp_path)
    put = sighting(3, look=2)
    assert_same(spool.get(spool.put(put)), put)


def test_keeps_sightings_over_a_restart_oldest_first(tmp_path: Path) -> None:
    """A new spool on the same folder has what the old one had, ordered by capture time."""
    first = open_spool(tmp_path)
    late, early = (first.put(sighting(1, captured_at=START + timedelta(hours=hours))) for hours in (2, 1))
    second = open_spool(tmp_path)
    assert second.pending() == [early, late]
    assert second.oldest() == early
    assert second.bytes_waiting == first.bytes_waiting > 0


def test_done_removes_a_sighting_for_good(tmp_path: Path) -> None:
    """What is done waits no more, not after a restart either; being done twice changes nothing."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    spool.done(sighting_id)
    spool.done(sighting_id)
    assert (spool.pending(), spool.bytes_waiting, len(spool)) == ([], 0, 0)
    assert open_spool(tmp_path).pending() == []
    with pytest.raises(KeyError):
        spool.get(sighting_id)


def test_removes_temporary_files_of_a_killed_run(tmp_path: Path) -> None:
    """A file that was being written when the process was killed is gone after the next start."""
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / ".000001234567890_aa.sighting.0badcafe.part").write_bytes(b"half")
    spool = open_spool(tmp_path)
    assert spool.pending() == []
    assert [path.name for path in folder.iterdir()] == ["dead"]


@pytest.mark.parametrize("keep", [0, 3, 40, 100, -1])
def test_puts_a_torn_file_aside(tmp_path: Path, keep: int) -> None:
    """A file cut off anywhere goes to `dead` with a reason when the spool starts, and is counted."""
    open_spool(tmp_path).put(sighting())
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    observer = Counting()
    spool = open_spool(tmp_path, observer=observer)
    assert spool.pending() == []
    assert "bytes" in (tmp_path / "spool" / "dead" / f"{path.name}.reason").read_text()
    assert (tmp_path / "spool" / "dead" / path.name).exists()
    assert observer.outcomes == [("", "dead")]


def test_notices_a_changed_byte(tmp_path: Path) -> None:
    """One flipped bit in the pictures is found by the checksum when the sighting is read."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(MalformedSightingError, match="sha256"):
        spool.get(sighting_id)


@pytest.mark.parametrize("name", ["notes.txt", "x.sighting", "000001234567890_zz.sighting"])
def test_puts_a_foreign_file_aside(tmp_path: Path, name: str) -> None:
    """A file that the spool did not write goes to `dead`; the others are not touched."""
    sighting_id = open_spool(tmp_path).put(sighting())
    (tmp_path / "spool" / name).write_bytes(b"something else")
    assert open_spool(tmp_path).pending() == [sighting_id]
    assert (tmp_path / "spool" / "dead" / name).read_bytes() == b"something else"


@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_with_one_kind_of_error(data: bytes) -> None:
    """Whatever lies in a file, reading it ends in MalformedSightingError and nothing else."""
    with pytest.raises(MalformedSightingError):
        sighting_file.decode(data)


@given(position=st.integers(min_value=0), value=st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, value: int) -> None:
    """No byte of a sighting's file can change unnoticed."""
    content = bytearray(ENCODED)
    content[position % len(content)] ^= value
    with pytest.raises(MalformedSightingError):
        sighting_file.decode(bytes(content))


ENCODED = sighting_file.encode(sighting(photo_bytes=b"p", normalized_bytes=b"n"))


def test_dead_moves_a_sighting_beside_its_reason(tmp_path: Path) -> None:
    """A dead sighting waits no more, lies in `dead` with the reason, and is counted for its camera."""
    observer = Counting()
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


def test_a_full_spool_drops_the_oldest_of_the_poorest(tmp_path: Path) -> None:
    """Poor sightings make room before good ones, older before newer; each drop is counted."""
    scores = [-0.1, -3.5, -3.2, -0.9]
    sightings = [
        sighting(number, score=score, cam_id=f"cam{number}", captured_at=START + timedelta(seconds=number))
        for number, score in enumerate(scores)
    ]
    room = sum(len(sighting_file.encode(one)) for one in sightings)
    observer = Counting()
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


def test_a_full_spool_drops_the_oldest_where_that_is_wished(tmp_path: Path) -> None:
    """However good: the latest news are worth more to this site. How many went shows until there is room."""
    first, second, third = (
        sighting(number, score=score, captured_at=START + timedelta(seconds=number))
        for number, score in enumerate((-0.1, -3.5, -0.2))
    )
    observer = Counting()
    spool = Spool(tmp_path / "spool", int(len(sighting_file.encode(first)) * 2.5), observer, "drop_oldest")
    spool.put(first)
    kept = [spool.put(second), spool.put(third)]
    assert spool.pending() == kept
    assert [outcome for _, outcome in observer.outcomes] == ["dropped"]
    assert spool.dropped == 1
    spool.done(kept[0])
    assert spool.dropped == 0


def test_a_full_spool_keeps_what_it_has_where_that_is_wished(tmp_path: Path) -> None:
    """What comes is refused, which shows until there is room again."""
    one = sighting(1, score=-3.0)
    observer = Counting()
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


def test_never_drops_the_sighting_in_work(tmp_path: Path) -> None:
    """A sighting that has been read stays until it is released, however poor; another one goes."""
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
    """One sighting that can never fit is refused by name of the setting, and pushes nothing out."""
    small = sighting(1, photo_bytes=b"p", normalized_bytes=b"n")
    spool = open_spool(tmp_path, len(sighting_file.encode(small)) + 10)
    kept = spool.put(small)
    with pytest.raises(SpoolError, match="max_bytes"):
        spool.put(sighting(2))
    assert spool.pending() == [kept]


def test_a_full_disk_is_a_state_that_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full every put is refused and leaves nothing behind; afterwards puts work again."""
    spool = open_spool(tmp_path)

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", no_space)
        with pytest.raises(SpoolError, match="No space left on device"):
            spool.put(sighting())
        assert spool.fault is not None
        assert "No space left" in spool.fault
        assert [path.name for path in (tmp_path / "spool").iterdir()] == ["dead"]
    assert (spool.pending(), spool.bytes_waiting) == ([], 0)
    sighting_id = spool.put(sighting())
    assert spool.fault is None
    assert spool.pending() == [sighting_id]


def test_what_is_accepted_has_reached_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the whole file under another name, then, once it has its own, the folder."""
    spool = open_spool(tmp_path)
    folder = tmp_path / "spool"
    flushed: list[tuple[str, int, int]] = []
    flush = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        final = len(list(folder.glob("*.sighting")))
        flushed.append(("folder", 0, final) if path == folder else ("file", path.stat().st_size, final))
        flush(descriptor)

    monkeypatch.setattr(files.os, "fsync", noted)
    spool.put(sighting())
    assert flushed == [("file", only_file(tmp_path).stat().st_size, 0), ("folder", 0, 1)]


def test_a_put_that_fails_late_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is there but the folder cannot be flushed, the refused sighting is not kept."""
    spool = open_spool(tmp_path)

    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_folder", broken)
        with pytest.raises(SpoolError, match="Input/output error"):
            spool.put(sighting())
    assert open_spool(tmp_path).pending() == []


def test_a_file_that_is_gone_does_not_block_the_others(tmp_path: Path) -> None:
    """A sighting whose file somebody removed is malformed, can be put aside, and leaves its reason."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    only_file(tmp_path).unlink()
    with pytest.raises(MalformedSightingError, match="No such file"):
        spool.get(sighting_id)
    spool.dead(sighting_id, "its file is gone")
    assert spool.pending() == []
    assert [path.suffix for path in (tmp_path / "spool" / "dead").iterdir()] == [".reason"]


def test_a_folder_that_somebody_removes_is_a_state_that_heals(tmp_path: Path) -> None:
    """What lay in it is lost, and told; the next try finds a folder again, for the service's user alone."""
    observer = Counting()
    spool = open_spool(tmp_path, observer=observer)
    lost = spool.put(sighting(1))
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(SpoolError, match="No such file"):
        spool.put(sighting(2))
    assert "No such file" in (spool.fault or "")
    spool.put(sighting(2))
    assert spool.fault is None
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    with pytest.raises(MalformedSightingError) as malformed:
        spool.get(lost)
    spool.dead(lost, str(malformed.value))
    assert observer.outcomes == [("door", "dead")]
    assert len(spool) == 1


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    """Where the folder's place is taken by a file, the error names the folder and what to do."""
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(SpoolError, match=r"spool folder .*spool cannot be used"):
        open_spool(tmp_path)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/b", "", "000000000000001_" + "0" * 31 + "/", ".."])
def test_ids_never_leave_the_folder(tmp_path: Path, bad: str) -> None:
    """Nothing but the ids that the spool gave reaches a file."""
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


def test_tells_who_waits_for_sightings(tmp_path: Path) -> None:
    """After each accepted sighting the callback runs, when the sighting can be read already."""
    spool = open_spool(tmp_path)
    seen: list[list[str]] = []
    spool.on_put = lambda: seen.append(spool.pending())
    first = spool.put(sighting(1))
    assert seen == [[first]]


def test_many_threads_put_at_once(tmp_path: Path) -> None:
    """Sightings put from eight threads all wait, under different ids, and sizes add up."""
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


def test_says_how_long_the_oldest_has_waited(tmp_path: Path) -> None:
    """The age counts from the capture of the oldest one; an empty spool has age 0."""
    spool = open_spool(tmp_path)
    assert spool.oldest_seconds() == 0
    spool.put(sighting(captured_at=START))
    assert spool.oldest_seconds() > 3600


def test_refuses_a_time_without_zone(tmp_path: Path) -> None:
    """A capture time without zone would be read as another moment later, so it is refused."""
    with pytest.raises(ValueError, match="time zone"):
        open_spool(tmp_path).put(sighting(captured_at=START.replace(tzinfo=None)))
