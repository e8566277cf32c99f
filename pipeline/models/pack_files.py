"""Model packs on disk: resolves names, checks files, and fetches missing ones.

The files of a pack are in `<models_dir>/<pack>/`. A file is written under a temporary name, and renamed after
its digest has been checked. Only one process fetches at a time; others wait.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.base.files import open_regular
from pipeline.errors import ModelError
from pipeline.models.download import DownloadError, obtain
from pipeline.models.insightface import facen_size_of, fetch_named, model_folder
from pipeline.models.packs import (
    Engine,
    Folder,
    ModelFile,
    Pack,
    Source,
    directory_pack,
    known_packs,
)
from pipeline.models.thresholds import Thresholds

__all__ = ["ModelFile", "Pack", "Thresholds", "fetch", "folder_of", "is_present", "known_packs", "resolve"]

_SCRATCH = ".fetch-"

Progress = Callable[[str, int, int], None]
"""Called with the file name and the number of bytes received and expected; 0 if unknown."""


def resolve(name_or_directory: str, models_dir: Path) -> Pack:
    """The pack with this name or in this directory. Raises ModelError if there is neither.

    A directory is given as a path that contains a slash, or as the name of a folder in `models_dir`.
    """
    for pack in known_packs():
        if pack.name == name_or_directory:
            return pack
    directory = Path(name_or_directory).expanduser()
    if "/" not in name_or_directory:
        directory = models_dir / directory
    if directory.is_dir():
        return directory_pack(directory, facen_size_of(directory))
    names = ", ".join(pack.name for pack in known_packs())
    raise ModelError(f"there is no model pack {name_or_directory!r}: give one of {names}, or a directory")


def folder_of(pack: Pack, models_dir: Path) -> Path:
    """The folder of the pack's files."""
    if pack.directory is not None:
        return pack.directory
    return (
        model_folder(pack.name, models_dir) if pack.engine is Engine.INSIGHTFACE else models_dir / pack.name
    )


def is_present(pack: Pack, models_dir: Path) -> bool:
    """Whether all files of the pack exist. Compares sizes, not digests, because that is fast."""
    folder = folder_of(pack, models_dir)
    if pack.engine is Engine.INSIGHTFACE:
        return any(folder.glob("*.onnx"))
    return all(_size(folder / file.name) == file.size for file in pack.files)


def fetch(
    pack: Pack, models_dir: Path, progress: Progress | None = None, *, folders: Sequence[Path] = ()
) -> None:
    """Fetch the files of the pack that are missing or have a wrong digest.

    `folders`: folders that may contain files of the pack; tried before downloads.

    Raises:
        ModelError: no source has the right file.
    """
    if pack.directory is not None:
        if not is_present(pack, models_dir):
            raise ModelError(f"the model directory {pack.directory} has no .onnx files")
        return
    folder = folder_of(pack, models_dir)
    try:
        # Checked before anything is written: the folder of a complete pack may be read-only.
        if _is_complete(pack, models_dir):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(models_dir):
            _remove_leftovers(models_dir)
            if pack.engine is Engine.INSIGHTFACE:
                if not _is_complete(pack, models_dir):
                    fetch_named(pack.name, models_dir)
                return
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=models_dir) as scratch:
                for file in _missing(pack, folder):
                    _fetch_file(file, folder, Path(scratch), progress or _ignore_progress, folders)
    except OSError as error:
        raise ModelError(
            f"the models cannot be written to {models_dir}: {error.strerror or error}; "
            "make it writable, or choose another folder"
        ) from error


def _is_complete(pack: Pack, models_dir: Path) -> bool:
    """Whether all files exist with the right digests; the digests of insightface's packs are not known."""
    return is_present(pack, models_dir) and not _missing(pack, folder_of(pack, models_dir))


def _missing(pack: Pack, folder: Path) -> list[ModelFile]:
    return [file for file in pack.files if _digest(folder / file.name) != file.sha256]


def _remove_leftovers(models_dir: Path) -> None:
    """Remove temporary folders of killed processes; requires the lock."""
    for scratch in models_dir.glob(f"{_SCRATCH}*"):
        shutil.rmtree(scratch)


def _fetch_file(
    file: ModelFile, folder: Path, scratch: Path, progress: Progress, folders: Sequence[Path]
) -> None:
    sources: list[Source] = [*(Folder(path) for path in folders), *file.sources]
    tried = []

    def report(received: int, expected: int) -> None:
        progress(file.name, received, expected)

    for source in sources:
        try:
            obtained = obtain(file, source, scratch, report)
        except DownloadError as error:
            tried.append(f"{source}: {error}")
            continue
        digest = _digest(obtained)
        if digest == file.sha256:
            _move(obtained, folder / file.name)
            progress(file.name, file.size, file.size)
            return
        tried.append(f"{source}: it has the digest {digest}")
    raise ModelError(
        f"{file.name} was not found with the sha256 digest {file.sha256}; tried " + "; ".join(tried)
    )


def _move(obtained: Path, target: Path) -> None:
    """Move a complete file durably to its final name."""
    with obtained.open("rb") as file:
        os.fsync(file.fileno())
    obtained.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _locked(models_dir: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the kernel releases it when the process ends."""
    with open_regular(models_dir / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str | None:
    """sha256 of a file, hexadecimal; None if it does not exist."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _ignore_progress(_name: str, _received: int, _expected: int) -> None:
    """Used without a progress callback."""
