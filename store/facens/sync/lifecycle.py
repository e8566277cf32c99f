"""Lifecycle of the facen storage: loads it, follows changes in MongoDB, and saves snapshots."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import structlog

from pipeline.base.files import durable_file, leftovers, make_folder
from store.errors import FacenStorageError, StoreUnavailableError
from store.facens.engine.local import LocalFacens
from store.facens.engine.sharded import ShardedFacens, ShardFilter
from store.facens.pack import StoredPack, claim_pack, known_pack
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import ChangeStream, FaceLocks
from store.facens.sync.factory import local_shards
from store.facens.sync.load import load_facens
from store.facens.sync.reconcile import reconcile
from store.facens.sync.snapshot import Identity, SnapshotError, SnapshotWriter, read_snapshot
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

log = structlog.get_logger()

LEFTOVER_SECONDS = 3600.0


class Snapshots:
    """The snapshots of local shards, in one folder."""

    def __init__(self, folder: Path, shards: Sequence[LocalFacens], pack: StoredPack) -> None:
        self._folder = folder
        self._shards = shards
        self._pack = pack
        self._written = [-1] * len(shards)
        """The `changes` of each shard when it was last written."""
        self._writing = asyncio.Lock()

    async def load(self) -> bool:
        """Load all shards; returns whether all were loaded. Shards that cannot be loaded stay empty, and the
        reason is logged."""
        return all([await self._load(shard) for shard in self._shards])

    async def _load(self, shard: LocalFacens) -> bool:
        path = self._path(shard)
        since = time.perf_counter()
        try:
            galleries = await asyncio.to_thread(read_snapshot, path, self._identity(shard))
        except FileNotFoundError:
            return False
        except SnapshotError as error:
            log.warning(
                "a snapshot of facens is unusable; loading them from MongoDB",
                file=str(path),
                reason=str(error),
            )
            return False
        shard.restore(galleries)
        facens = sum(len(array) for array in galleries.values())
        seconds = round(time.perf_counter() - since, 2)
        log.info("loaded facens from a snapshot", shard=shard.name, facens=facens, seconds=seconds)
        return True

    async def save(self) -> None:
        """Write the shards that changed since the last call. Cancelling removes the partial file.

        Raises:
            OSError: a file cannot be written.
        """
        async with self._writing:
            await asyncio.to_thread(self._prepare)
            for number, shard in enumerate(self._shards):
                if shard.changes != self._written[number]:
                    changes = shard.changes
                    await self._save(shard)
                    self._written[number] = changes

    def _prepare(self) -> None:
        make_folder(self._folder)
        for path in leftovers(self._folder, LEFTOVER_SECONDS):
            path.unlink(missing_ok=True)

    async def _save(self, shard: LocalFacens) -> None:
        async with _durable_file(self._path(shard)) as file:
            writer = SnapshotWriter(file, self._identity(shard))
            for key in await shard.galleries():
                # Galleries may be of different times, because the next start compares them with MongoDB.
                async with shard.open_view(*key) as view:
                    work = asyncio.ensure_future(asyncio.to_thread(writer.gallery, key, view))
                    try:
                        await asyncio.shield(work)
                    except asyncio.CancelledError:
                        await asyncio.wait([work])  # the thread is still writing
                        raise
            writer.end()

    def _identity(self, shard: LocalFacens) -> Identity:
        shard_name = f"{shard.name} of {len(self._shards)}"
        return Identity(self._pack.database, self._pack.name, self._pack.size, shard.precision, shard_name)

    def _path(self, shard: LocalFacens) -> Path:
        return self._folder / f"{shard.name.replace(' ', '-')}.facens"


@asynccontextmanager
async def _durable_file(path: Path) -> AsyncIterator[BinaryIO]:
    """`durable_file` with its disk access in a thread."""
    opened = durable_file(path)
    file = await asyncio.to_thread(opened.__enter__)
    try:
        yield file
    except BaseException as error:
        await asyncio.to_thread(opened.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(opened.__exit__, None, None, None)


class FacensLifecycle:
    """Keeps one facen storage consistent with the faces of one database."""

    def __init__(
        self,
        database: Database,
        facens: FacenStorage,
        locks: FaceLocks,
        on_malformed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_malformed`: called when a malformed face was written."""
        self._database = database
        self._facens = facens
        self._locks = locks
        self._on_malformed = on_malformed
        self._change_stream: ChangeStream | None = None
        self._folder: Path | None = None
        self._snapshots: Snapshots | None = None

    async def open(self, folder: Path, pack: str | None, size: int | None, *, claim: bool = True) -> None:
        """Check the model pack of the stored facens, and locate the snapshots.

        Args:
            claim: record the pack if the database has none yet.

        Raises:
            PackError: the stored facens are of another pack.
        """
        self._folder = folder
        if pack is None or size is None:
            return
        stored = await (claim_pack if claim else known_pack)(self._database, pack, size)
        if stored is None:
            return
        if shards := local_shards(self._facens):
            self._snapshots = Snapshots(folder, shards, stored)

    @asynccontextmanager
    async def running(self, *, follow: bool) -> AsyncIterator[None]:
        """Load the storage, and apply changes by other processes until the end of the block.

        Args:
            follow: False if the caller applies the changes itself.

        Raises:
            StoreUnavailableError: MongoDB or a shard does not answer.
        """
        async with AsyncExitStack() as stack:
            change_stream = ChangeStream(
                self._database["faces"],
                self._facens,
                self._locks,
                lambda: reconcile(self._database, self._facens, change_stream),
                self._on_malformed,
            )
            if follow and local_shards(self._facens):  # a server shares its facens with all processes
                await stack.enter_async_context(change_stream.running())
                self._change_stream = change_stream
            try:
                await self._load(change_stream)
            except FacenStorageError as error:
                raise StoreUnavailableError(str(error)) from error
            yield

    @property
    def fault(self) -> str:
        """Why changes by other processes are not applied at present; empty while they are."""
        return self._change_stream.fault if self._change_stream else ""

    async def _load(self, change_stream: ChangeStream) -> None:
        loaded = self._snapshots is not None and await self._snapshots.load()
        if loaded or await self._facens.galleries():
            added, removed = await reconcile(self._database, self._facens, change_stream)
            log.info("the store is open", added=added, removed=removed)
            return
        try:
            counts = await load_facens(self._database["faces"], self._facens)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "facens.fill") from error
        log.info("the store is open", faces=counts.faces, facens=counts.entries, refused=counts.refused)

    async def save(self) -> None:
        """Write the snapshots. OSError if a file cannot be written."""
        if self._snapshots is not None:
            await self._snapshots.save()

    def for_storage(self, facens: FacenStorage) -> "FacensLifecycle":
        """The lifecycle of another storage of the same database."""
        return FacensLifecycle(self._database, facens, self._locks)

    def remove_snapshots(self) -> None:
        """Remove the snapshots, so that the next start loads from MongoDB. Raises OSError."""
        for path in self._folder.glob("*.facens") if self._folder is not None else ():
            path.unlink(missing_ok=True)

    async def recover_shards(self) -> None:
        """Try to recover shards that are down. StoreError if a shard stays down."""
        if not isinstance(self._facens, ShardedFacens):
            return
        for name in self._facens.down_shards():
            await self._facens.recover(name, self._catch_up)
            log.info("a shard of the facen storage is live again", shard=name)

    async def _catch_up(self, shard: FacenStorage, belongs: ShardFilter) -> None:
        change_stream = ChangeStream(self._database["faces"], shard, self._locks)
        await reconcile(self._database, shard, change_stream, belongs)
