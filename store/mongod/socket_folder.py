"""Where a private server's unix sockets lie.

The driver lower-cases the names of replica-set members, and a member's name here is its socket's path; both
the driver and the server split such names at commas and colons; the kernel takes at most 107 bytes. So the
folder's path is short and consists of plain lower-case characters, whatever the data folder is called. It
depends on the data folder and the user alone, never on the environment: a service and a command that an
administrator starts have different environments and have to meet.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import socket
from pathlib import Path

from store.errors import StoreUnavailableError

MAX_SOCKET_BYTES = 107  # sockaddr_un.sun_path, less its closing zero
SOCKETS = ("mongod.sock", "mongodb-27017.sock")
"""The one that clients use, and the one that mongod makes beside it."""
RUNTIME_FOLDER = Path("/run/facend")
"""The service's own, the only folder outside its data that it shares with commands (PrivateTmp)."""
TEMPORARY_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108  see make_private

_PLAIN = re.compile(r"[a-z0-9_./-]+")
_NO_SOCKETS_HERE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def socket_folder(folder: Path) -> Path:
    """`run` in the folder, where sockets can be there; else a private folder named by a digest of its path.

    Raises:
        StoreUnavailableError: there is no place for sockets on this machine.
        OSError: `folder` cannot be used.
    """
    folder = folder.resolve()
    inside = folder / "run"
    longest = os.fsencode(inside / max(SOCKETS, key=len))
    if len(longest) <= MAX_SOCKET_BYTES and _PLAIN.fullmatch(str(inside)) and _holds_sockets(folder):
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return _base() / f"facend-{os.getuid()}-{digest}"


def make_private(place: Path) -> None:
    """Makes the folder; StoreUnavailableError where another user could reach into it."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = place.lstat()
    if place.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StoreUnavailableError(f"{place} has to be a folder of our own with mode 0700; remove it")


def remove_sockets(place: Path) -> None:
    """Removes what a server left there. Raises OSError."""
    for name in SOCKETS:
        (place / name).unlink(missing_ok=True)


def _base() -> Path:
    if os.access(RUNTIME_FOLDER, os.W_OK | os.X_OK) and RUNTIME_FOLDER.stat().st_uid == os.getuid():
        return RUNTIME_FOLDER
    for base in TEMPORARY_FOLDERS:
        if os.access(base, os.W_OK | os.X_OK):
            return base
    tried = ", ".join(map(str, (RUNTIME_FOLDER, *TEMPORARY_FOLDERS)))
    raise StoreUnavailableError(
        f"there is no place for the private mongod's sockets: none of {tried} can be written; "
        "allow one of them, or choose a data_dir whose path is short and all lower case"
    )


def _holds_sockets(folder: Path) -> bool:
    """Whether the folder's file system has sockets: FAT and several network file systems have none.

    The answer depends on the file system alone: a full disk or missing rights give True.
    """
    probe = folder / f"s{secrets.token_hex(4)}"
    with socket.socket(socket.AF_UNIX) as opened:
        try:
            opened.bind(os.fsencode(probe))
        except OSError as error:
            return error.errno not in _NO_SOCKETS_HERE
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    return True
