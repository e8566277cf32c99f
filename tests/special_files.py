"""What may lie in place of a file, and a call that must not wait for it."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def folder(path: Path) -> None:
    path.mkdir()


SPECIAL = (pipe, endless_device, listening_socket, folder)


def promptly(call: Callable[[], object]) -> BaseException | None:
    """The call's error. Fails if the call blocks."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it blocks"
    return errors[0] if errors else None
