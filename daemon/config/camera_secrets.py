"""Secrets of the collection's cameras. Documents contain only their names; each box keeps the values that it
needs.

The value of a secret is the systemd credential with its name, or else the content of a file in the data
folder that only the service can read.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from daemon.config.secret_references import SecretError, credential
from pipeline.base.files import make_folder, read_regular, write_durably
from pipeline.base.redaction import KNOWN

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


class CameraSecrets:
    def __init__(self, data_dir: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._folder = data_dir / "secrets"
        self._environment = environment

    def get(self, name: object) -> str:
        """The secret with this name.

        Raises:
            SecretError: there is no such secret, or the name is malformed.
        """
        secret = self._read(name)
        KNOWN.add(secret)
        return secret

    def _read(self, name: object) -> str:
        path = self._path(name)
        name = path.name
        passed = self._environment.get("CREDENTIALS_DIRECTORY")
        if passed and Path(passed, name).is_file():
            return credential(name, self._environment)
        try:
            return read_regular(path).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(
                f"the secret {name} is not on this box ({getattr(error, 'strerror', 'not text')}): "
                "`facend cameras edit ID --password-stdin` puts it there"
            ) from error

    def put(self, name: str, secret: str) -> None:
        """Store a secret in the data folder, readable by the owner of that folder only.

        Raises:
            SecretError: the name is malformed.
        """
        path = self._path(name)
        make_folder(self._folder)
        write_durably(path, f"{secret}\n".encode())
        if os.geteuid() == 0:  # a command run by root on the service's folder
            owner = self._folder.parent.stat()
            for created in (self._folder, path):
                os.chown(created, owner.st_uid, owner.st_gid)

    def forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, SecretError):  # it does not exist
            self._path(name).unlink()

    def _path(self, name: object) -> Path:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise SecretError(
                f"{name!r:.80} is not a valid name of a secret: expected up to 64 letters, digits, _ . and -"
            )
        return self._folder / name
