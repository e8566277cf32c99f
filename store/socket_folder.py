"""Where a private server's unix sockets lie."""

import hashlib
import os
import tempfile
from pathlib import Path

from store.errors import StoreUnavailableError

MAX_SOCKET_BYTES = 107  # sockaddr_un.sun_path, less its closing zero


def socket_folder(folder: Path) -> Path:
    """A folder of our own for the sockets, with a path short enough for the kernel."""
    if len(os.fsencode(folder / "run" / "mongodb-27017.sock")) <= MAX_SOCKET_BYTES:
        place = folder / "run"
    else:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        if len(os.fsencode(base)) > MAX_SOCKET_BYTES - 60:
            base = Path("/tmp")  # noqa: S108  checked below to be ours alone
        place = base / f"facend-{os.getuid()}-{digest}"
    return place


def make_private(place: Path) -> None:
    """Makes the folder; StoreUnavailableError where somebody else could reach into it."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = place.lstat()
    if place.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StoreUnavailableError(f"{place} has to be a folder of our own with mode 0700; remove it")
