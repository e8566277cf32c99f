"""Snapshots of facens: they are read as written, and refused if foreign or damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
from bson import ObjectId

from store.facens.engine.gallery_array import GalleryArray, Precision, rows_in_block
from store.facens.sync.snapshot import Identity, SnapshotError, SnapshotWriter, read_snapshot
from tests.facens import person_facen

A, B = ObjectId(), ObjectId()
SIZE = 8192
"""Large facens: a few hundred fill several blocks."""
IDENTITY = Identity("this database", "a pack", SIZE, Precision.FULL, "local of 1")


def gallery(count: int, precision: Precision = Precision.FULL) -> GalleryArray:
    array = GalleryArray(SIZE, precision)
    for number in range(count):
        array.add(number * 7, person_facen(number, SIZE))
    return array


def write(path: Path, identity: Identity = IDENTITY, count: int = 150) -> None:
    precision = Precision(identity.precision)
    with path.open("wb") as file:
        writer = SnapshotWriter(file, identity)
        writer.gallery((A, "g"), gallery(count, precision).view())
        writer.gallery((B, "empty"), gallery(0, precision).view())
        writer.gallery((B, "ä"), gallery(3, precision).view())
        writer.end()


@pytest.mark.parametrize("precision", Precision)
def test_reads_what_was_written(tmp_path: Path, precision: Precision) -> None:
    """Ids and values of every gallery, over several blocks; the galleries can be changed."""
    identity = replace(IDENTITY, precision=precision)
    assert rows_in_block(SIZE) == 64
    write(tmp_path / "s", identity)
    found = read_snapshot(tmp_path / "s", identity)
    assert {key: len(array) for key, array in found.items()} == {(A, "g"): 150, (B, "empty"): 0, (B, "ä"): 3}
    array, expected = found[A, "g"], gallery(150, precision)
    assert array.view().ids().tolist() == expected.view().ids().tolist()
    for mine, theirs in zip(array.view().blocks, expected.view().blocks, strict=True):
        assert (mine.vectors == theirs.vectors).all()
    array.add(5, person_facen(5, SIZE))
    array.remove(0)
    assert (5 in array, 0 in array, len(array)) == (True, False, 150)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("database", "another"),
        ("pack", "another"),
        ("size", 128),
        ("precision", "half"),
        ("shard", "shard 1 of 2"),
    ],
)
def test_refuses_a_foreign_snapshot(tmp_path: Path, field: str, value: object) -> None:
    """Of another database, model pack or precision; the error names the difference."""
    write(tmp_path / "s", count=2)
    with pytest.raises(SnapshotError, match=field):
        read_snapshot(tmp_path / "s", replace(IDENTITY, **{field: value}))


def test_refuses_a_truncated_or_damaged_snapshot(tmp_path: Path) -> None:
    """Truncated anywhere, or with any byte changed."""
    path = tmp_path / "s"
    write(path, count=2)
    whole = path.read_bytes()
    places = {0, 5, len(whole) - 1, len(whole) - 3, *range(16, 400, 7), *range(400, len(whole), 4999)}
    for place in places:
        path.write_bytes(whole[:place])
        with pytest.raises(SnapshotError):
            read_snapshot(path, IDENTITY)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(SnapshotError):
            read_snapshot(path, IDENTITY)
    path.write_bytes(whole + b"x")
    with pytest.raises(SnapshotError):
        read_snapshot(path, IDENTITY)
    with pytest.raises(FileNotFoundError):
        read_snapshot(tmp_path / "none", IDENTITY)
