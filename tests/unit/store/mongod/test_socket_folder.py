"""Where the private server's sockets are created."""

import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.mongod.socket_folder import socket_folder


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder whose short, plain path could be the socket's."""
    folder = Path(tempfile.gettempdir(), f"facend-{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    yield folder
    folder.rmdir()


class RefusingSocket(socket.socket):
    """Cannot be bound, as on a file system without sockets."""

    error = errno.EPERM

    def bind(self, address: object) -> None:
        raise OSError(self.error, os.strerror(self.error))


def test_sockets_lie_in_the_data_folder_if_that_is_possible(data_folder: Path) -> None:
    """A plain, short path on a file system with sockets; the trial leaves nothing behind."""
    assert socket_folder(data_folder) == data_folder / "run"
    assert list(data_folder.iterdir()) == []


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_sockets_holds_the_data_only(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """FAT, FUSE, SMB and shared folders of virtual machines: the sockets are elsewhere, in one place."""
    monkeypatch.setattr(RefusingSocket, "error", error)
    monkeypatch.setattr(socket, "socket", RefusingSocket)
    elsewhere = socket_folder(data_folder)
    assert data_folder not in elsewhere.parents
    assert elsewhere == socket_folder(data_folder)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_does_not_move_the_sockets(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A command and the service find the same server, whatever the state of the disk."""
    monkeypatch.setattr(RefusingSocket, "error", error)
    monkeypatch.setattr(socket, "socket", RefusingSocket)
    assert socket_folder(data_folder) == data_folder / "run"
