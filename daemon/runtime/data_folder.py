"""The data folder: used by one daemon at a time, and readable by its owner only."""

import contextlib
import errno
import fcntl
import os
import pwd
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from daemon.errors import SettingsError, StartError
from pipeline.base.files import open_regular

LOCK_ATTEMPTS, PAUSE_SECONDS = 3, 0.1


def prepare(folder: Path) -> None:
    """Create the folder, readable by its owner only.

    Raises:
        SettingsError: the folder cannot be created or written.
        StartError: the folder, or a file in it, belongs to another user; nothing is created then.
    """
    require_own(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        try:
            probe.write_bytes(b"is there room?")  # an empty file fits on a full disk, too
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _FULL:
            raise StartError(f"data_dir {folder} is on a full disk: free some space there") from error
        raise SettingsError(
            [f"data_dir {folder} cannot be written ({error.strerror}): give {_user()} a folder of its own"]
        ) from error

    require_usable(folder)


def require_usable(folder: Path) -> None:
    """Check that this process can read and write the folder and what is in it.

    Raises:
        StartError: it cannot; the message names the remedy.
    """
    require_own(folder)
    try:
        inside = [*folder.iterdir(), *(folder / "mongod").glob("*"), *(folder / "mongod" / "db").glob("*")]
    except OSError as error:
        raise StartError(f"data_dir {folder} cannot be read ({error.strerror}){advice(folder)}") from error
    for path in (folder, *inside):
        # A file that has just been removed, or a dangling link, does no harm.
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise StartError(f"{path} cannot be read and written by {_user()}{advice(path)}")


def advice(path: Path) -> str:
    """The remedy for a file that this process may not use, to append to an error."""
    try:
        status = path.lstat()
    except OSError:
        return ""
    if status.st_uid == os.geteuid():
        return f": run chmod u+rwX {shlex.quote(str(path))}"
    return f", it is {_owner_of(path)}'s: run sudo chown -R {_user()}: {shlex.quote(str(path))}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for the block. The kernel releases it when the process ends.

    Raises:
        StartError: another daemon holds it, or its file cannot be opened.
    """
    path = folder / "daemon.lock"
    try:
        opened = open_regular(path, "a+b")
    except OSError as error:
        raise unusable_lock(path, error) from error
    with opened as lock:
        try:
            _lock(lock)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().decode(errors="replace").strip() or "unknown"
            raise StartError(
                f"data_dir {folder} is in use by a running facend (process {holder}); "
                "stop it or set another data_dir"
            ) from error
        lock.truncate(0)
        with contextlib.suppress(OSError):  # only informative; fails on a full disk
            lock.write(str(os.getpid()).encode())
        yield


def _lock(lock: IO[bytes]) -> None:
    """Raises BlockingIOError if another process holds it. `is_held` holds it for a moment: try again."""
    for _ in range(LOCK_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(PAUSE_SECONDS)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(folder: Path) -> bool:
    """Whether a daemon runs on this folder.

    Raises:
        StartError: the folder belongs to another user, or its lock cannot be opened.
    """
    try:
        with open_regular(folder / "daemon.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise StartError(f"data_dir {folder} is not {_user()}'s: run this as {_owner_of(folder)}") from error
    except OSError as error:
        raise unusable_lock(folder / "daemon.lock", error) from error
    return False


def unusable_lock(path: Path, error: OSError) -> StartError:
    """The error for a lock that cannot be opened."""
    return StartError(f"{path} cannot be opened ({error.strerror}); it has to be a file: remove it")


def require_own(folder: Path) -> None:
    """Refuse root in another user's folder: files that root creates there are closed to its owner.

    Raises:
        StartError: root runs this in another user's folder.
    """
    if os.geteuid() == 0 and folder.exists() and folder.stat().st_uid != 0:
        owner = _owner_of(folder)
        raise StartError(
            f"data_dir {folder} is {owner}'s: run this as {owner}, with sudo -u {owner} facend …"
        )


def _owner_of(folder: Path) -> str:
    try:
        return folder.owner()
    except (KeyError, OSError):
        return "its owner"


_FULL = (errno.ENOSPC, errno.EDQUOT)


def _user() -> str:
    """Name of the effective user; environment variables differ between sudo and systemd."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"the user {os.geteuid()}"
