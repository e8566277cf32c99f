"""A small separate file system, and filling it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faces import missing

MEBIBYTE = 1024 * 1024


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of this size, mounted at the folder. Needs root."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Fills the free space with a file, and returns its path."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (MEBIBYTE, 4096):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:  # full
                continue
    return ballast
