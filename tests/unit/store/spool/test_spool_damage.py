"""Damaged files, foreign files, full disks and missing folders of the spool."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import files
from store.errors import MalformedSightingError, SpoolError
from store.spool import codec as sighting_file
from tests.sightings import sighting
from tests.spools import SightingOutcomes, only_file, open_spool


def test_removes_temporary_files_of_a_killed_run(tmp_path: Path) -> None:
    """A partial file of a killed process is removed at the next start."""
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / ".000001234567890_aa.sighting.0badcafe.part").write_bytes(b"half")
    spool = open_spool(tmp_path)
    assert spool.pending() == []
    assert [path.name for path in folder.iterdir()] == ["dead"]


@pytest.mark.parametrize("keep", [0, 3, 40, 100, -1])
def test_moves_a_truncated_file_to_the_dead_letters(tmp_path: Path, keep: int) -> None:
    """At the start, with a reason; it is counted."""
    open_spool(tmp_path).put(sighting())
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    observer = SightingOutcomes()
    spool = open_spool(tmp_path, observer=observer)
    assert spool.pending() == []
    assert "bytes" in (tmp_path / "spool" / "dead" / f"{path.name}.reason").read_text()
    assert (tmp_path / "spool" / "dead" / path.name).exists()
    assert observer.outcomes == [("", "dead")]


def test_detects_a_changed_byte(tmp_path: Path) -> None:
    """A flipped bit in a picture is detected by the checksum when the sighting is read."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(MalformedSightingError, match="sha256"):
        spool.get(sighting_id)


@pytest.mark.parametrize("name", ["notes.txt", "x.sighting", "000001234567890_zz.sighting"])
def test_moves_a_foreign_file_to_the_dead_letters(tmp_path: Path, name: str) -> None:
    """Sightings are not affected."""
    sighting_id = open_spool(tmp_path).put(sighting())
    (tmp_path / "spool" / name).write_bytes(b"something else")
    assert open_spool(tmp_path).pending() == [sighting_id]
    assert (tmp_path / "spool" / "dead" / name).read_bytes() == b"something else"


ENCODED = sighting_file.encode(sighting(photo_bytes=b"p", normalized_bytes=b"n"))


@given(data=st.binary(max_size=400))
def test_decode_raises_only_malformed_sighting_error(data: bytes) -> None:
    """For any bytes."""
    with pytest.raises(MalformedSightingError):
        sighting_file.decode(data)


@given(position=st.integers(min_value=0), value=st.integers(1, 255))
def test_decode_detects_any_changed_byte(position: int, value: int) -> None:
    """No byte of a sighting's file can change undetected."""
    content = bytearray(ENCODED)
    content[position % len(content)] ^= value
    with pytest.raises(MalformedSightingError):
        sighting_file.decode(bytes(content))


def test_recovers_from_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full, every put is refused and leaves no file; afterwards puts succeed."""
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


def test_flushes_the_file_and_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the complete file under a temporary name; then, after the rename, the folder."""
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


def test_a_put_that_fails_after_the_rename_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the folder cannot be flushed, the refused sighting is removed."""
    spool = open_spool(tmp_path)

    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_folder", broken)
        with pytest.raises(SpoolError, match="Input/output error"):
            spool.put(sighting())
    assert open_spool(tmp_path).pending() == []


def test_a_missing_file_is_a_malformed_sighting(tmp_path: Path) -> None:
    """It can be made a dead letter, which consists of the reason only."""
    spool = open_spool(tmp_path)
    sighting_id = spool.put(sighting())
    only_file(tmp_path).unlink()
    with pytest.raises(MalformedSightingError, match="No such file"):
        spool.get(sighting_id)
    spool.dead(sighting_id, "its file is gone")
    assert spool.pending() == []
    assert [path.suffix for path in (tmp_path / "spool" / "dead").iterdir()] == [".reason"]


def test_recovers_from_a_removed_folder(tmp_path: Path) -> None:
    """Its sightings are lost and counted; the next put finds a new folder with mode 0700."""
    observer = SightingOutcomes()
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


def test_names_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """A file at its path is an error that names the folder and the remedy."""
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(SpoolError, match=r"spool folder .*spool cannot be used"):
        open_spool(tmp_path)
