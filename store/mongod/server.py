"""Starts a process of the private mongod, waits until it accepts writes, and stops it."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import structlog

from pipeline.base.background import supervised
from pipeline.base.child_environment import child_environment
from pipeline.base.deadline import Deadline
from store.errors import StoreUnavailableError
from store.mongo.client import ReplicaSetOfOne
from store.mongod.log import MongodLog, RepeatThrottle
from store.mongod.processes import dies_with_parent
from store.mongod.socket_folder import SOCKETS, make_private, remove_sockets, socket_folder

log = structlog.get_logger()

READY_SECONDS = 60.0
"""Recovery of the journal after a power failure can take a while."""
KILL_SECONDS = 0.3
"""Part of a deadline that is reserved for the end of a killed server."""
MIN_FREE_BYTES = 16 * 1024 * 1024
"""Minimum free disk space. With less, a server ends soon after each start."""


class MongodProcess:
    """A mongod on one data folder, with at most one process at a time."""

    def __init__(
        self,
        folder: Path,
        program: Callable[[], Path],
        cache_mb: int,
        close_deadline: Callable[[], Deadline],
        repeats: RepeatThrottle,
    ) -> None:
        """`program` gives the executable for `start`, `close_deadline` the deadline for `stop`."""
        self._folder = folder
        self._program = program
        self._cache_mb = cache_mb
        self._close_deadline = close_deadline
        self._socket_folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._log = MongodLog(repeats)
        self._reader: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> Path:
        """The folder of the sockets. It is chosen on first use, when the data folder exists."""
        if self._socket_folder is None:
            self._socket_folder = socket_folder(self._folder)
        return self._socket_folder

    @property
    def _socket(self) -> Path:
        return self.sockets / SOCKETS[0]

    @property
    def _member(self) -> ReplicaSetOfOne:
        return ReplicaSetOfOne(f"{self._server_url}/?directConnection=true", str(self._socket))

    @property
    def _server_url(self) -> str:
        return f"mongodb://{quote(str(self._socket), safe='')}"

    @property
    def url(self) -> str:
        """URL of the replica set, so that the driver waits for a server that accepts no writes yet."""
        return f"{self._server_url}/?replicaSet={ReplicaSetOfOne.name}"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it does not run or another process owns it."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def has_started(self) -> bool:
        return self._process is not None

    async def wait(self) -> int | None:
        """Wait for the end of the process, if there was one; returns its status."""
        return None if self._process is None else await self._process.wait()

    async def ready(self) -> None:
        """Wait until the server of this folder accepts writes, whichever process started it."""
        await self._member.ready(READY_SECONDS)

    async def start(self) -> None:
        """Start a process and wait until it accepts writes.

        Raises:
            StoreUnavailableError: the message has the server's reason.
        """
        if reason := self.lack_of_space():
            raise StoreUnavailableError(reason)
        try:
            # Without parents: if they are missing, a disk may not be mounted yet.
            (self._folder / "db").mkdir(exist_ok=True, mode=0o700)
            make_private(self.sockets)
            remove_sockets(self.sockets)
        except OSError as error:
            raise self.unusable(error) from error
        program = self._program()
        self._log.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                program,
                *self._arguments(),
                env=child_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must reach only this process, which stops the server last
                preexec_fn=dies_with_parent(),
            )
        except OSError as error:
            raise StoreUnavailableError(f"{program} could not be started: {error.strerror}") from error
        self._reader = supervised(self._read(self._process), "private mongod's log")
        await self._until_ready(self._process)

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        ready = asyncio.create_task(self._member.ready(READY_SECONDS))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done() or (ready.exception() and ended.done()):
                if self._reader:
                    await self._reader
                raise StoreUnavailableError(self._exit_reason(process))
            await ready
        except BaseException:
            await self.stop()
            raise
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        log.info("the private mongod is ready", pid=process.pid, folder=str(self._folder))

    async def stop(self) -> None:
        """Stop the process, if it runs; kill it shortly before the deadline."""
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            deadline = self._close_deadline()
            if not await deadline.leaving(KILL_SECONDS).wait(process.wait()):
                log.warning("the private mongod did not stop in time and is killed", pid=process.pid)
                process.kill()
                # A process in an uninterruptible wait for its disk ends when the disk answers.
                await deadline.wait(process.wait())
        if self._reader is not None and process is not None and process.returncode is not None:
            await self._reader
            self._reader = None
        if process is not None and self.sockets.parent != self._folder:
            with contextlib.suppress(OSError):  # the next server empties it, or creates it again
                remove_sockets(self.sockets)
                self.sockets.rmdir()

    def lack_of_space(self) -> str:
        """Why the server cannot run on this disk; "" if there is space."""
        try:
            if shutil.disk_usage(self._folder).free >= MIN_FREE_BYTES:
                return ""
        except OSError:  # another fault, which `start` reports
            return ""
        return (
            f"the private mongod lacks disk space: less than {MIN_FREE_BYTES // 2**20} MiB are free on the "
            f"disk of {self._folder}"
        )

    def unusable(self, error: OSError) -> StoreUnavailableError:
        """The error for a data folder that cannot be used."""
        return StoreUnavailableError(
            f"the private mongod's folder {self._folder} cannot be used: {error.strerror}; "
            "check store.data_dir, its owner and its permissions"
        )

    def _arguments(self) -> list[str]:
        return [
            *("--dbpath", str(self._folder / "db")),
            *("--bind_ip", str(self._socket)),
            *("--unixSocketPrefix", str(self.sockets)),
            *("--filePermissions", "0700"),
            *("--replSet", ReplicaSetOfOne.name),
            *("--oplogSize", "64"),
            *("--wiredTigerCacheSizeGB", f"{self._cache_mb / 1024:.3f}"),
            # Small journal files save 300 MB of disk.
            *("--wiredTigerEngineConfigString", "log=(file_max=16MB,prealloc=false)"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # A primary waits 15 s for a secondary to take over; there is none.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            "--noscripting",  # nothing here needs JavaScript, whose compiler wants writable code
            "--quiet",
        ]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Read the server's output until its end."""
        assert process.stdout is not None  # noqa: S101  it was opened as a pipe; tells the type checker
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the reader's buffer; the rest follows as another line
                continue
            if not line:
                return
            self._log.add_line(line)

    def _exit_reason(self, process: asyncio.subprocess.Process) -> str:
        status = process.returncode
        output = self._log.last_lines()
        text = f"the private mongod on {self._folder} ended with status {status}"
        if status == -signal.SIGILL:
            return f"{text}: this processor lacks instructions (AVX) that MongoDB needs; set store.url"
        if "error while loading shared libraries" in output:
            return f"{text}: {output}; install that library, or set store.url to another server"
        return f"{text}; its last output: {output or 'none'}"
