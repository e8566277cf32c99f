"""Errors of `store.url`: MongoDB servers with a login or TLS."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pytest
import trustme

from store.errors import StoreUnavailableError
from store.mongo.client import try_connection
from store.mongod.program import find_mongod
from store.settings import StoreSettings
from tests.daemon_process import facend, free_port, write_settings

PASSWORD = "p@ss/w:rd#1%"  # noqa: S105  of a server that lives for these tests


@contextmanager
def mongod(*options: str) -> Iterator[int]:
    """The port of a server with these options, once it answers."""
    folder, port = Path(tempfile.mkdtemp(prefix="facend-login-")), free_port()
    process = subprocess.Popen(
        [
            *(find_mongod(), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1"),
            *("--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", *options),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not _listens(port):
            assert process.poll() is None
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def secured() -> Iterator[int]:
    """The port of a server with the users `me` (readWrite on facend) and `guest` (no role)."""
    with mongod("--auth") as port:
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/") as client:
            roles = [{"role": "readWrite", "db": "facend"}]
            client.admin.command("createUser", "root", pwd="x", roles=["root"])  # noqa: S106  as above
        with pymongo.MongoClient(f"mongodb://root:x@127.0.0.1:{port}/") as client:
            client.admin.command("createUser", "me", pwd=PASSWORD, roles=roles)
            client.admin.command("createUser", "guest", pwd="guest", roles=[])  # noqa: S106  as above
        yield port


def settings(port: int, **given: object) -> StoreSettings:
    return StoreSettings.model_validate(
        {"url": f"mongodb://127.0.0.1:{port}/", "connect_timeout_seconds": 4, **given}
    )


async def test_user_and_password_of_the_settings_log_in(secured: int) -> None:
    """Used verbatim, without percent-encoding."""
    assert "database facend" in await try_connection(settings(secured, user="me", password=PASSWORD))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "requires a login; set store.user and store.password"),
        ({"user": "me", "password": "geheim"}, "refuses the login of me: user, password or authSource"),
        (
            {"user": "nobody", "password": PASSWORD},
            "refuses the login of nobody: user, password or authSource",
        ),
        ({"url": "mongodb://me:p%40ss%2Fw%3Ard%231%25@{}/?authSource=facend"}, "authSource"),
        (
            {"user": "guest", "password": "guest"},
            "does not let guest use the database; grant the role readWrite",
        ),
        ({"url": "mongodb://{}/?tls=true"}, "TLS handshake failed"),
        ({"url": "mongodb://{}/?replicaSet=rs", "user": "me", "password": PASSWORD}, "replicaSet="),
        ({"url": "mongodb://127.0.0.1:1/"}, "connection is refused; check the port"),
        ({"url": "mongodb://not-there.invalid/"}, "host name cannot be resolved"),
    ],
)
async def test_each_fault_has_its_own_message(secured: int, given: dict[str, str], message: str) -> None:
    """Without the password and the server's raw answer, and before the timeout."""
    given = {key: value.format(f"127.0.0.1:{secured}") for key, value in given.items()}
    with pytest.raises(StoreUnavailableError, match=message) as caught:
        await try_connection(settings(secured, **given))
    text = str(caught.value)
    assert "MongoDB at mongodb://" in text
    assert not [secret for secret in ("geheim", "p@ss", "p%40ss", "'ok'", "errmsg") if secret in text]
    assert len(text.splitlines()) == 1


async def test_certificates_are_checked(tmp_path: Path) -> None:
    """A trusted authority connects; another one, or none, is reported."""
    authority, other = trustme.CA(), trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    folder = Path(shutil.copytree(tmp_path, tempfile.mkdtemp(prefix="facend-tls-"), dirs_exist_ok=True))
    with mongod("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(folder / "server.pem")) as port:
        url = f"mongodb://127.0.0.1:{port}/"
        assert "answers" in await try_connection(
            settings(port, url=f"{url}?tls=true&tlsCAFile={folder}/ca.pem")
        )
        with pytest.raises(StoreUnavailableError, match="certificate is not trusted; set tlsCAFile"):
            await try_connection(settings(port, url=f"{url}?tls=true&tlsCAFile={folder}/other.pem"))
        with pytest.raises(StoreUnavailableError, match=r"closes the connection; .* needs tls=true"):
            await try_connection(settings(port, url=url))
    shutil.rmtree(folder)


def test_check_parses_and_optionally_connects(secured: int, tmp_path: Path) -> None:
    """Status 2 for invalid settings, 1 if the server cannot be used, 0 if it can."""
    url = f"mongodb://127.0.0.1:{secured}/"
    good = {"url": url, "user": "me", "password": PASSWORD}

    def check(store: dict[str, str], *options: str) -> tuple[int, str]:
        done = facend("check", *options, "--settings", write_settings(tmp_path, [], store=store))
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.returncode, done.stderr

    assert check(good)[0] == 0
    status, text = check(good, "--connect")
    assert (status, "answers; database facend" in text) == (0, True)
    status, text = check({**good, "password": "geheim"}, "--connect")
    assert (status, "refuses the login of me" in text, "geheim" in text) == (1, True, False)
    status, text = check({"url": f"{url}?tls=true&tlsCAFile=/not/there"})
    assert (status, "tlsCAFile: /not/there cannot be read (No such" in text) == (2, True)
    status, text = check({"url": f"mongodb://me:{PASSWORD}@127.0.0.1:{secured}/"})
    assert (status, "or use store.user and store.password" in text) == (2, True)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    reference = f"mongodb://me:${{file:{password}}}@127.0.0.1:{secured}/"
    assert check({"url": reference}, "--connect")[0] == 0
