"""A private mongod: the MongoDB server of one box, reached only through a unix socket.

It runs as a replica set with one member, because transactions and change streams need a replica set. The
first process that opens a data folder owns the server: it starts it, restarts it after a crash and stops it.
Other processes on the same folder, such as a command beside the daemon, are guests. When the owner ends, a
guest becomes the owner and starts the server again at the same address; calls in the meantime wait.
"""

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff
from pipeline.base.deadline import Deadline
from pipeline.base.file_lock import FileLock
from store.errors import StoreUnavailableError
from store.mongod.log import RepeatThrottle
from store.mongod.processes import find_processes, terminate, wait_for_end
from store.mongod.server import KILL_SECONDS, MongodProcess
from store.mongod.socket_folder import make_private

log = structlog.get_logger()

STOP_SECONDS = 2.5
"""Default deadline for stopping a server. A killed server replays its journal at the next start."""
HEALTHY_SECONDS = 60.0
"""The delay before a restart is reset after a server ran for longer than this."""
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 30.0
TAKEOVER_CHECK_SECONDS = 0.1
DISK_CHECK_SECONDS = 2.0


class PrivateMongod:
    """The mongod of a data folder, owned by this process or used as a guest."""

    def __init__(
        self,
        folder: Path,
        program: Callable[[], Path],
        cache_mb: int = 256,
        close_deadline: Callable[[], Deadline] = lambda: Deadline.within(STOP_SECONDS + KILL_SECONDS),
    ) -> None:
        """
        Args:
            program: called by the owner of the folder only; guests need no program.
            close_deadline: called when the server is stopped; gives the deadline.
        """
        self._folder = folder.resolve()
        self._repeats = RepeatThrottle()
        self._server = MongodProcess(self._folder, program, cache_mb, close_deadline, self._repeats)
        self.fault = ""
        """Why the server is not running, if this process owns it; otherwise ""."""

    @property
    def url(self) -> str:
        """URL of the replica set."""
        return self._server.url

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it does not run or another process owns it."""
        return self._server.pid

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
            make_private(self._server.sockets)
            lock = FileLock(self._folder / "owner.lock")
            owner = lock.acquire()
        except OSError as error:
            raise self._server.unusable(error) from error
        serving = self._own() if owner else self._join(lock)
        try:
            async with serving:
                yield self.url
        finally:
            lock.release()

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[None]:
        await self._end_orphans()
        await self._server.start()
        async with self._supervising(self._keep_running()):
            yield

    @asynccontextmanager
    async def _join(self, lock: FileLock) -> AsyncIterator[None]:
        log.info("using the private mongod of another process", folder=str(self._folder))
        async with self._supervising(self._take_over(lock)):
            await self._server.ready()
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
            await self._server.stop()

    async def _take_over(self, lock: FileLock) -> None:
        """Wait for the end of the owner, then become the owner."""
        while not lock.acquire():
            if servers := self._running_servers():
                await wait_for_end(servers[0])
            # The owner may stop or restart the server, and notifies nobody of either.
            await asyncio.sleep(TAKEOVER_CHECK_SECONDS)
        log.info("taking over the private mongod, its owner has gone", folder=str(self._folder))
        await self._end_orphans()
        await self._restart()
        await self._keep_running()

    def _running_servers(self) -> list[int]:
        return find_processes("mongod", str(self._folder / "db"))

    async def _end_orphans(self) -> None:
        # On Linux the kernel ends the server with its owner; on other systems it may keep running.
        for pid in self._running_servers():
            log.warning("ending a private mongod that was left over", pid=pid, folder=str(self._folder))
            await terminate(pid, STOP_SECONDS)

    async def _keep_running(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            if self._server.has_started:
                self._log_end(await self._server.wait())
            if loop.time() - since > HEALTHY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.pause_seconds())
            while reason := self._server.lack_of_space():
                self._report_fault(reason)
                await asyncio.sleep(DISK_CHECK_SECONDS)
            await self._restart()

    async def _restart(self) -> None:
        try:
            await self._server.start()
        except StoreUnavailableError as error:
            self._report_fault(str(error))
        else:
            self.fault = ""

    def _log_end(self, status: int | None) -> None:
        if (counted := self._repeats.due("ended")) is not None:
            log.warning("the private mongod ended and is restarted", status=status, **counted)

    def _report_fault(self, fault: str) -> None:
        self.fault = fault
        if (counted := self._repeats.due(fault)) is not None:
            log.error("the private mongod could not be restarted", reason=fault, **counted)
