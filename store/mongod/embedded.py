"""A private mongod: a real server for one box, reached through a unix socket and nothing else.

It runs as a replica set with one member, because transactions and change streams need a replica set. The
process that opens a data folder first owns the server: it starts it, restarts it after a crash and stops it.
Other processes on the same folder (a command beside the running daemon, or the other way round) are guests.
When the owner ends, one of the guests becomes the owner and starts the server again, under the same address;
calls in the meantime wait.
"""

import asyncio
import contextlib
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import structlog

from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff
from pipeline.base.child_environment import child_environment
from pipeline.base.deadline import Deadline
from store.errors import StoreUnavailableError
from store.mongo.client import ReplicaSetOfOne
from store.mongod.log import MongodLog, RepeatThrottle
from store.mongod.process_lock import OwnerLock, dies_with_parent, orphans, terminate, wait_for_end
from store.mongod.socket_folder import SOCKETS, make_private, remove_sockets, socket_folder

log = structlog.get_logger()

STOP_SECONDS = 2.5  # without a deadline; then it is killed, which costs a replay of its journal
KILLED_SECONDS = 0.3  # part of a deadline that is reserved for the end of a killed server
READY_SECONDS = 60.0  # recovery of the journal after a power cut can take a while
HEALTHY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
SUCCESSION_SECONDS = 0.1
MIN_FREE_BYTES = 16 * 1024 * 1024
"""Minimum free space on the disk: with less, a server ends, again and again."""
DISK_CHECK_SECONDS = 2.0


class PrivateMongod:
    """One mongod on one data folder."""

    def __init__(
        self,
        folder: Path,
        program: Callable[[], Path],
        cache_mb: int = 256,
        closing: Callable[[], Deadline] = lambda: Deadline.within(STOP_SECONDS + KILLED_SECONDS),
    ) -> None:
        """`program` is called only by the owner of the folder: a guest needs no program. `closing` is called
        when the server is stopped, and gives the deadline for its end."""
        self._folder = folder.resolve()
        self._program = program
        self._cache_mb = cache_mb
        self._closing = closing
        self._sockets: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._repeats = RepeatThrottle()
        self._log = MongodLog(self._repeats)
        self.fault = ""
        """Why the server does not run, where this process owns it; else ""."""
        self._reader: asyncio.Task[None] | None = None

    @property
    def _socket_folder(self) -> Path:
        """The folder of the sockets; chosen when the data folder exists."""
        if self._sockets is None:
            self._sockets = socket_folder(self._folder)
        return self._sockets

    @property
    def _socket(self) -> Path:
        return self._socket_folder / SOCKETS[0]

    @property
    def _member(self) -> ReplicaSetOfOne:
        return ReplicaSetOfOne(f"{self._server}/?directConnection=true", str(self._socket))

    @property
    def _server(self) -> str:
        return f"mongodb://{quote(str(self._socket), safe='')}"

    @property
    def url(self) -> str:
        """URL of the replica set, so that the driver waits for a server that accepts no writes yet."""
        return f"{self._server}/?replicaSet={ReplicaSetOfOne.name}"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it does not run or another process owns it."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run the server; yields its URL.

        Raises:
            StoreUnavailableError: it could not be started; the message has the server's reason.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if stat.S_IMODE(self._folder.stat().st_mode) != 0o700:
                self._folder.chmod(0o700)
            make_private(self._socket_folder)
            lock = OwnerLock(self._folder / "owner.lock")
            owner = lock.acquire()
        except OSError as error:
            raise self._unusable(error) from error
        serving = self._own() if owner else self._join(lock)
        try:
            async with serving:
                yield self.url
        finally:
            lock.release()

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[None]:
        await self._end_orphans()
        await self._start()
        async with self._supervising(self._keep_running()):
            yield

    @asynccontextmanager
    async def _join(self, lock: OwnerLock) -> AsyncIterator[None]:
        log.info("using the private mongod of another process", folder=str(self._folder))
        async with self._supervising(self._succeed(lock)):
            await self._member.ready(READY_SECONDS)
            yield

    @asynccontextmanager
    async def _supervising(self, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
        """Supervise the server for the block, and stop it at the end if this process owns it."""
        keeper = supervised(work, "private mongod")
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            await self._stop()

    async def _succeed(self, lock: OwnerLock) -> None:
        """Wait for the end of the owner, then own the server and keep it running."""
        while not lock.acquire():
            if servers := self._servers():
                await wait_for_end(servers[0])
            # The owner stops it or starts it again; neither is notified.
            await asyncio.sleep(SUCCESSION_SECONDS)
        log.info("taking over the private mongod, its owner has gone", folder=str(self._folder))
        await self._end_orphans()
        await self._start_again()
        await self._keep_running()

    def _servers(self) -> list[int]:
        return orphans("mongod", str(self._folder / "db"))

    async def _end_orphans(self) -> None:
        # On Linux the kernel ends the server with its owner; elsewhere it is left over.
        for pid in self._servers():
            log.warning("ending a private mongod that was left over", pid=pid, folder=str(self._folder))
            await terminate(pid, STOP_SECONDS)

    async def _start(self) -> None:
        if lack := self._disk_full():
            raise StoreUnavailableError(lack)
        try:
            # Without parents: if they are missing, a disk may not be mounted yet.
            (self._folder / "db").mkdir(exist_ok=True, mode=0o700)
            make_private(self._socket_folder)
            remove_sockets(self._socket_folder)
        except OSError as error:
            raise self._unusable(error) from error
        program = self._program()
        self._log.begin()
        try:
            self._process = await asyncio.create_subprocess_exec(
                program,
                *self._arguments(),
                env=child_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to this process alone, which stops the server last
                preexec_fn=dies_with_parent(),
            )
        except OSError as error:
            raise StoreUnavailableError(f"{program} could not be started: {error.strerror}") from error
        self._reader = supervised(self._read(self._process), "private mongod's log")
        await self._until_ready(self._process)

    def _unusable(self, error: OSError) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the private mongod's folder {self._folder} cannot be used: {error.strerror}; "
            "check store.data_dir, its owner and its permissions"
        )

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
            await self._stop()
            raise
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        log.info("the private mongod is ready", pid=process.pid, folder=str(self._folder))

    def _arguments(self) -> list[str]:
        return [
            *("--dbpath", str(self._folder / "db")),
            *("--bind_ip", str(self._socket)),
            *("--unixSocketPrefix", str(self._socket_folder)),
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
        """Read the server's output: log errors, and keep the last lines for a post-mortem."""
        assert process.stdout is not None  # noqa: S101  it was opened as a pipe; tells the type checker
        while True:
            try:
                line = await process.stdout.readline()
            except (
                ValueError
            ):  # a line longer than the reader's buffer; its rest follows as a line of its own
                continue
            if not line:
                return
            self._log.add_line(line)

    def _exit_reason(self, process: asyncio.subprocess.Process) -> str:
        status = process.returncode
        said = self._log.last_words()
        text = f"the private mongod on {self._folder} ended with status {status}"
        if status == -signal.SIGILL:
            return f"{text}: this processor lacks instructions (AVX) that MongoDB needs; set store.url"
        if "error while loading shared libraries" in said:
            return f"{text}: {said}; install that library, or set store.url to another server"
        return f"{text}; it said: {said or 'nothing'}"

    async def _keep_running(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            if self._process is not None:
                await self._process.wait()
                self._log_end(self._process)
            if loop.time() - since > HEALTHY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.pause_seconds())
            while lack := self._disk_full():
                self._report_fault(lack)
                await asyncio.sleep(DISK_CHECK_SECONDS)
            await self._start_again()

    async def _start_again(self) -> None:
        try:
            await self._start()
        except StoreUnavailableError as error:
            self._report_fault(str(error))
        else:
            self.fault = ""

    def _disk_full(self) -> str:
        try:
            if shutil.disk_usage(self._folder).free >= MIN_FREE_BYTES:
                return ""
        except OSError:  # a folder that cannot be looked at has another fault, which the start tells
            return ""
        return (
            f"the private mongod has no room: less than {MIN_FREE_BYTES // 2**20} MiB are free on the disk "
            f"of {self._folder}"
        )

    def _log_end(self, process: asyncio.subprocess.Process) -> None:
        if (counted := self._repeats.due("ended")) is not None:
            log.warning("the private mongod ended and is started again", status=process.returncode, **counted)

    def _report_fault(self, fault: str) -> None:
        self.fault = fault
        if (counted := self._repeats.due(fault)) is not None:
            log.error("the private mongod could not be started again", reason=fault, **counted)

    async def _stop(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            deadline = self._closing()
            if not await deadline.leaving(KILLED_SECONDS).wait(process.wait()):
                log.warning("the private mongod did not stop in time and is killed", pid=process.pid)
                process.kill()
                # A process in an uninterruptible wait for its disk ends when the disk answers.
                await deadline.wait(process.wait())
        if self._reader is not None and process is not None and process.returncode is not None:
            await self._reader
            self._reader = None
        if process is not None and self._socket_folder.parent != self._folder:
            with contextlib.suppress(OSError):  # the next server makes the folder again, and empties it first
                remove_sockets(self._socket_folder)
                self._socket_folder.rmdir()
