"""Opening files that may be anything."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.files import open_regular, read_json_object, read_regular
from tests.special_files import SPECIAL, promptly


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("mode", ["rb", "ab", "a+b"])
def test_only_regular_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], mode: str
) -> None:
    """A pipe, a device, a socket and a folder are an OSError that names the file, at once."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = tmp_path / "state"
    make(path)
    error = promptly(lambda: open_regular(path, mode))  # type: ignore[arg-type]  # parametrized
    assert isinstance(error, OSError)
    assert error.filename == str(path)


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    """A state file may be moved elsewhere by a symbolic link."""
    (tmp_path / "elsewhere").write_bytes(b"content")
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    assert read_regular(tmp_path / "state") == b"content"


def test_a_created_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """A lock that is created has mode 0600."""
    open_regular(tmp_path / "lock", "ab").close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte is an OSError, and costs no memory."""
    path = tmp_path / "state"
    path.touch()
    os.truncate(path, 10**12)
    with pytest.raises(OSError, match="more than 67,108,864 bytes"):
        read_json_object(path)
