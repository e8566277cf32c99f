"""Snapshots of a local facen storage on disk, so that a start need not read every facen from MongoDB.

A file per shard: a header; for each gallery a line with owner, name and size, then blocks of ids and facens;
at the end a checksum. Files are replaced atomically (`pipeline.base.files.durable_file`). A snapshot may be
older than MongoDB; `store.facens.sync.lifecycle` updates the storage.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from bson import ObjectId
from bson.errors import InvalidId
from numpy.typing import NDArray

from pipeline.base.files import open_regular
from store.facens.engine.gallery_array import (
    Block,
    GalleryArray,
    GalleryView,
    Precision,
    rows_in_block,
    uninitialised,
)
from store.facens.storage import GalleryKey

MAGIC = b"facend facens 2\n"
LENGTH = struct.Struct("<I")
MAX_LINE = 4096

DAMAGE = (KeyError, TypeError, ValueError, OverflowError, RecursionError, InvalidId)
"""Exceptions that a damaged line can raise."""


class SnapshotError(Exception):
    """The file is truncated, damaged, or not the expected snapshot."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies the content of a snapshot. A snapshot with another identity is not used."""

    database: str
    """The unique id recorded in the database."""
    pack: str
    size: int
    precision: str
    shard: str


class SnapshotWriter:
    """Writes galleries into an open file."""

    def __init__(self, file: BinaryIO, identity: Identity) -> None:
        self._file = file
        self._sum = 0
        self._file.write(MAGIC)
        self._line(asdict(identity))

    def gallery(self, key: GalleryKey, view: GalleryView) -> None:
        self._line({"owner": str(key[0]), "gallery": key[1], "count": view.count})
        for block in view.blocks:
            self._write(block.ids.astype("<i8", copy=False).data)
            self._write(np.ascontiguousarray(block.vectors).data)

    def end(self) -> None:
        self._line(None)
        self._file.write(LENGTH.pack(self._sum))

    def _line(self, value: object) -> None:
        line = json.dumps(value).encode()
        self._write(LENGTH.pack(len(line)))
        self._write(line)

    def _write(self, data: bytes | memoryview) -> None:
        self._sum = zlib.crc32(data, self._sum)
        self._file.write(data)


def read_snapshot(path: Path, identity: Identity) -> dict[GalleryKey, GalleryArray]:
    """The galleries in the file.

    Raises:
        FileNotFoundError: there is no file.
        SnapshotError: it cannot be used.
    """
    try:
        with open_regular(path) as file:
            reader = _Reader(file)
            reader.check_identity(identity)
            return dict(reader.galleries(identity.size, Precision(identity.precision)))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SnapshotError(f"it cannot be read ({error.strerror})") from error
    except DAMAGE as error:
        raise SnapshotError("it is damaged: a line is invalid") from error


class _Reader:
    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._sum = 0

    def header(self) -> dict[str, Any]:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise SnapshotError("it is not a snapshot of this version of Facend")
        found = self.line()
        if not isinstance(found, dict):
            raise SnapshotError("it is damaged: it has no header")
        return found

    def check_identity(self, identity: Identity) -> None:
        found = self.header()
        for name, value in asdict(identity).items():
            if found.get(name) != value:
                raise SnapshotError(f"its {name} is {found.get(name)}, not {value}")

    def galleries(self, size: int, precision: Precision) -> Iterator[tuple[GalleryKey, GalleryArray]]:
        while (line := self.line()) is not None:
            blocks, left = [], int(line["count"])
            while left > 0:
                rows = min(left, rows_in_block(size))
                ids = np.empty(rows, dtype="<i8")
                vectors = uninitialised(rows, size, precision)
                self._fill(ids)
                self._fill(vectors)
                blocks.append(Block(vectors, ids))
                left -= rows
            if not isinstance(line["gallery"], str):
                raise TypeError("a gallery's name is text")
            yield (
                (ObjectId(line["owner"]), line["gallery"]),
                GalleryArray.from_blocks(size, precision, blocks),
            )
        expected = self._sum
        last = self._file.read(LENGTH.size + 1)
        if last != LENGTH.pack(expected):
            raise SnapshotError("it is damaged: its checksum is wrong")

    def line(self) -> Any:  # noqa: ANN401  what JSON holds
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > MAX_LINE:
            raise SnapshotError("it is damaged: a line is too long")
        return json.loads(self._read(length))

    def _read(self, number: int) -> bytes:
        data = bytearray(number)
        self._read_into(memoryview(data))
        return bytes(data)

    def _fill(self, array: NDArray[Any]) -> None:
        self._read_into(memoryview(array.data).cast("B"))

    def _read_into(self, wanted: memoryview) -> None:
        done = 0
        while done < len(wanted):
            number = self._file.readinto(wanted[done:])
            if not number:
                raise SnapshotError("it is truncated")
            done += number
        self._sum = zlib.crc32(wanted, self._sum)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a snapshot's headers say, without verification."""

    pack: str
    galleries: int
    facens: int
    nbytes: int
    written_at: datetime


def summary(path: Path) -> Summary:
    """The summary of a file, without reading its facens. Raises as `read_snapshot`."""
    with open_regular(path) as file:
        reader = _Reader(file)
        try:
            header = reader.header()
            row = 8 + header["size"] * np.dtype(Precision(header["precision"]).dtype).itemsize
            galleries = facens = 0
            while (line := reader.line()) is not None:
                galleries, facens = galleries + 1, facens + line["count"]
                file.seek(line["count"] * row, os.SEEK_CUR)
        except DAMAGE as error:
            raise SnapshotError("it is damaged: a line is invalid") from error
        status = path.stat()
    written_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return Summary(header["pack"], galleries, facens, status.st_size, written_at)
