"""A real Milvus server for tests: one for the whole run, started when the first test asks for it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bson import ObjectId
from pydantic import SecretStr

from store.facens.storage import FacenStorage
from store.settings import FacensSettings

PROGRAM = Path(sys.prefix) / "milvus"
"""Where `.ci/setup servers` puts it."""
START = "import sys; from milvus import main; sys.argv[0] = 'milvus-server'; main()"
READY_SECONDS = 180


class MilvusServer:
    """The standalone server, in a separate process group; it listens on this machine only."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="facend-milvus-"))
        unpacked = PROGRAM / "unpacked"
        unpacked.mkdir(exist_ok=True)  # shared by all runs: half a gigabyte
        (self._folder / "bin").symlink_to(unpacked)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.url = f"milvus://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when the server listens; requests wait until it is ready."""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", START, "--data", str(self._folder)),
                    *("--proxy-port", str(self._port)),
                ],
                env={**os.environ, "PYTHONPATH": str(PROGRAM), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + READY_SECONDS
        while "Ctrl+C" not in (said := (self._folder / "log").read_text()):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"the Milvus server did not start: {said}")
            time.sleep(0.1)

    def freeze(self, frozen: bool) -> None:
        """Stops or continues its processes; connections stay open."""
        self._signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; its files stay for the next start."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, number)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def milvus_server() -> Iterator[MilvusServer]:
    """A separate server, for a test that kills it; skips the test if Milvus is not installed."""
    _require()
    server = MilvusServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _require() -> None:
    if not (PROGRAM / "milvus").is_dir():
        pytest.skip("there is no Milvus server here; `.ci/setup servers` installs it on Linux x86-64")


_SERVER = pytest.StashKey[MilvusServer]()


@pytest.fixture(scope="session")
def milvus(request: pytest.FixtureRequest) -> MilvusServer:
    _require()
    stash = request.config.stash
    if _SERVER not in stash:
        stash[_SERVER] = MilvusServer()
        request.config.add_cleanup(stash[_SERVER].stop)
        stash[_SERVER].start()
    return stash[_SERVER]


@pytest.fixture
def milvus_settings(milvus: MilvusServer) -> FacensSettings:
    return FacensSettings(url=SecretStr(milvus.url))


@pytest.fixture
async def milvus_owner(milvus_settings: FacensSettings) -> AsyncIterator[ObjectId]:
    """An owner whose facens are removed after the test."""
    from store.facens.milvus.storage import MilvusFacens  # its client takes a second to load

    owner = ObjectId()
    yield owner
    storage = await MilvusFacens.connect(milvus_settings)
    await drop_galleries(storage, owner)
    await storage.close()


async def drop_galleries(storage: FacenStorage, owner: ObjectId) -> None:
    """Remove all facens of an owner."""
    for _, gallery in await storage.galleries(owner):
        await storage.drop(owner, gallery)
