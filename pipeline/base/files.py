"""Durable files: complete or absent after a crash or a power cut.

A file is written under a temporary name beside its final one, flushed to the disk
(fsync), renamed, and then the folder is flushed, because a rename lives in the folder:
https://man7.org/linux/man-pages/man2/fsync.2.html
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_TEMPORARY = ".part"


@contextlib.contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that atomically replaces `path` at the end of the block.

    Readable by the owner alone. On an OSError no partial file remains.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Writes the data to a durable file."""
    with durable_file(path) as file:
        file.write(data)


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where the file does not exist.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds anything but a JSON object.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__}, not an object")
    return found


def make_folder(folder: Path) -> None:
    """Creates the folder and its parents, for the owner alone, and flushes each new entry to disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries (new names, renames, removals) to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether the name is that of an unfinished durable file."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def leftovers(folder: Path, older_than_seconds: float) -> Iterator[Path]:
    """Temporary files right in the folder that a killed run left behind. OSError where it cannot be read.

    The age keeps away from files that another process is writing at this moment.
    """
    newest = time.time() - older_than_seconds
    for path in filter(is_temporary, folder.iterdir() if folder.is_dir() else ()):
        with contextlib.suppress(FileNotFoundError):  # finished or removed meanwhile
            if path.is_file() and path.stat().st_mtime <= newest:
                yield path
