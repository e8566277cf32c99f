"""The folder of the private server's unix sockets.

The path of the socket is the name of the replica-set member. The driver converts such names to lower case,
driver and server split them at commas and colons, and the kernel limits the path to 107 bytes. So the folder
has a short path of lower-case characters. It depends only on the data folder and the user, not on the
environment: the service and commands have different environments and must use the same server.
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

MAX_SOCKET_BYTES = 107  # sockaddr_un.sun_path without the final zero
SOCKETS = ("mongod.sock", "mongodb-27017.sock")
"""The socket that clients use, and one that mongod creates in addition."""
RUNTIME_FOLDER = Path("/run/facend")
"""RuntimeDirectory of the service, whose /tmp is private (PrivateTmp); commands see the same folder."""
TEMPORARY_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108  see make_private

_PLAIN = re.compile(r"[a-z0-9_./-]+")
_UNSUPPORTED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def socket_folder(folder: Path) -> Path:
    """`run` in the data folder if sockets are possible there; else a folder named by a digest of its path.

    Raises:
        StoreUnavailableError: no folder for sockets can be written.
        OSError: `folder` cannot be used.
    """
    folder = folder.resolve()
    inside = folder / "run"
    longest = os.fsencode(inside / max(SOCKETS, key=len))
    if len(longest) <= MAX_SOCKET_BYTES and _PLAIN.fullmatch(str(inside)) and _supports_sockets(folder):
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return _base() / f"facend-{os.getuid()}-{digest}"


def make_private(folder: Path) -> None:
    """Create the folder. StoreUnavailableError if other users can access an existing one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StoreUnavailableError(f"{folder} must be a folder of this user with mode 0700; remove it")


def remove_sockets(folder: Path) -> None:
    """Remove the sockets of a previous server. Raises OSError."""
    for name in SOCKETS:
        (folder / name).unlink(missing_ok=True)


def _base() -> Path:
    if os.access(RUNTIME_FOLDER, os.W_OK | os.X_OK) and RUNTIME_FOLDER.stat().st_uid == os.getuid():
        return RUNTIME_FOLDER
    for base in TEMPORARY_FOLDERS:
        if os.access(base, os.W_OK | os.X_OK):
            return base
    tried = ", ".join(map(str, (RUNTIME_FOLDER, *TEMPORARY_FOLDERS)))
    raise StoreUnavailableError(
        f"the private mongod's sockets need a folder, and none of {tried} can be written; "
        "allow one of them, or choose a data_dir with a short path in lower case"
    )


def _supports_sockets(folder: Path) -> bool:
    """Whether the folder's file system supports sockets; FAT and several network file systems do not.

    True on a full disk and without permission, so that the result depends on the file system only.
    """
    probe = folder / f"s{secrets.token_hex(4)}"
    with socket.socket(socket.AF_UNIX) as opened:
        try:
            opened.bind(os.fsencode(probe))
        except OSError as error:
            return error.errno not in _UNSUPPORTED
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    return True
