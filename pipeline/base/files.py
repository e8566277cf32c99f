"""Files of the data folder: opened only if they are regular files, and written durably.

A named pipe in place of a file would block the process that opens it; a device may have no end.

A durable file is written under a temporary name in the same folder, flushed to the disk (fsync) and renamed.
Then the folder is flushed too, because it holds the name:
https://man7.org/linux/man-pages/man2/fsync.2.html
"""

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

MAX_STATE_BYTES = 64 * 1024 * 1024
"""Maximum size of a file that is read as a whole to get the state of an earlier run."""
_TEMPORARY = ".part"


def open_regular(path: Path, mode: Literal["rb", "wb", "ab", "a+b"] = "rb") -> FileIO:
    """Open a regular file, unbuffered. A file that it creates is readable by its owner only.

    Raises:
        OSError: the file cannot be opened, or is no regular file. It never waits for the other end of a pipe.
    """
    return open(path, mode, buffering=0, opener=_regular_only)


def _regular_only(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe that nobody reads, or a socket
            raise _not_regular(path) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise _not_regular(path)


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file", path)


def read_regular(path: Path, max_bytes: int = MAX_STATE_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: as `open_regular`, or it has more bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes", str(path))
        return file.read()


@contextlib.contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, which atomically replaces `path` at the end of the block.

    The file is readable by its owner only. After an exception no partial file remains.
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
    """Write data to a durable file."""
    with durable_file(path) as file:
        file.write(data)


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file does not exist.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not contain a JSON object.
    """
    try:
        found = json.loads(read_regular(path))
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"the JSON is {type(found).__name__}, not an object")
    return found


def make_folder(folder: Path) -> None:
    """Create the folder and its parents, accessible to their owner only, and flush each new entry to disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (new names, renames, removals) to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether this is the temporary name of an unfinished durable file."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def leftovers(folder: Path, older_than_seconds: float) -> Iterator[Path]:
    """Temporary files in the folder (not below) that a killed process left behind.

    The age excludes files that another process is writing at present.

    Raises:
        OSError: the folder cannot be read.
    """
    newest = time.time() - older_than_seconds
    for path in filter(is_temporary, folder.iterdir() if folder.is_dir() else ()):
        with contextlib.suppress(FileNotFoundError):  # finished or removed meanwhile
            if path.is_file() and path.stat().st_mtime <= newest:
                yield path
