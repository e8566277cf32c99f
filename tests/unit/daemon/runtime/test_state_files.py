"""A named pipe in place of a file of the data folder, which would block the process that opens it."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from cameras.settings import CameraSettings
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.collection_cameras import read_copy
from daemon.config.secret_references import SecretError, SecretFault, resolve_references
from daemon.config.service_user import read_token
from daemon.errors import SettingsError, StartError
from daemon.runtime import data_folder
from daemon.runtime.crashes import CrashNotes
from pipeline.base.file_lock import FileLock
from pipeline.base.tls import client_context
from store.facens.sync.snapshot import summary
from store.mongo_url import check_mongodb_url
from store.spool.codec import read_head
from store.spool.crash_marks import CrashMarks
from tests.special_files import promptly

DOOR = CameraSettings(id="door", url="rtsp://10.0.0.7/main")

MONGODB = "mongodb://h/?tls=true&tlsCAFile="


def crashes(folder: Path) -> None:
    notes = CrashNotes(folder)
    notes.blame(DOOR)
    assert notes.held_seconds(DOOR) == 0


def lock_of_the_data_folder(folder: Path) -> None:
    with data_folder.held(folder):
        pass


READERS: list[tuple[str, Callable[[Path], object], type[Exception] | None]] = [
    ("crash.txt", lambda folder: CrashNotes(folder).begin(), None),
    ("crashes.json", crashes, None),
    ("crash-marks.json", CrashMarks, None),
    ("cameras.json", read_copy, SettingsError),
    ("secrets/door", lambda folder: CameraSecrets(folder, {}).get("door"), SecretError),
    ("token", lambda folder: read_token(folder / "token"), StartError),
    ("daemon.lock", lock_of_the_data_folder, StartError),
    ("daemon.lock", data_folder.is_held, StartError),
    ("enroll.lock", lambda folder: FileLock(folder / "enroll.lock").acquire(), OSError),
    ("local.facens", lambda folder: summary(folder / "local.facens"), OSError),
    ("a.sighting", lambda folder: read_head(folder / "a.sighting"), OSError),
    ("ca.pem", lambda folder: client_context(str(folder / "ca.pem")), OSError),
    ("ca.pem", lambda folder: check_mongodb_url(MONGODB + quote(f"{folder}/ca.pem")), ValueError),
]


@pytest.mark.parametrize(
    ("name", "read", "error"), READERS, ids=[f"{r[0]}-{n}" for n, r in enumerate(READERS)]
)
def test_a_pipe_in_place_of_a_file_blocks_nothing(
    tmp_path: Path, name: str, read: Callable[[Path], object], error: type[Exception] | None
) -> None:
    """It is the error of an unreadable file, or the file counts as empty, at once."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    raised = promptly(lambda: read(tmp_path))
    if error is None:
        assert raised is None
    else:
        assert isinstance(raised, error)
        assert "not a regular file" in str(raised)


def test_a_pipe_in_place_of_a_secret_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    """`${file:…}` names it, and the reason."""
    os.mkfifo(tmp_path / "secret")
    faults: list[SecretFault] = []
    reference = {"password": f"${{file:{tmp_path}/secret}}"}
    assert promptly(lambda: resolve_references(reference, {}, faults)) is None
    assert "not a regular file" in str(faults)
