"""The context: all collections and storages, opened and closed together."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from pipeline.base.deadline import Deadline
from pipeline.limits import MAX_PIXELS
from store.collections.cameras import Cameras
from store.collections.extraction import Extractor, PictureExtractor
from store.collections.galleries import Galleries
from store.collections.person_ids import COUNTER
from store.collections.person_scope import follow_scope
from store.collections.persons import Persons
from store.collections.server_faces import ServerFaces
from store.collections.users import Users
from store.facens.storage import FacenStorage
from store.facens.sync.factory import open_storage
from store.facens.sync.lifecycle import FacensLifecycle
from store.mongo.client import Database, connect, ping
from store.mongo.counters import Counters
from store.mongo.indexes import create_indexes
from store.mongo.malformed import MalformedDocuments
from store.mongo.migrations import migrate, refuse_newer, warn_of_older
from store.mongo.query_limits import QueryLimiter
from store.mongod.embedded import PrivateMongod
from store.mongod.program import find_mongod
from store.observer import StoreObserver, UnobservedStore
from store.settings import FacensSettings, PersonScope, PersonsSettings, StoreSettings
from store.uploads.folder import FolderUploads
from store.uploads.locations import Locations
from store.uploads.storage import Uploads

log = structlog.get_logger()

CLOSE_SECONDS = 4.0
"""Default deadline for closing."""
STORAGE_CLOSE_SECONDS = 0.5
"""Time limit for closing the facen storage, whose threads may be busy and whose server may hang."""


@dataclass(frozen=True, slots=True)
class Context:
    """`ctx`: the collections, the facen storage, the uploads and the extractor."""

    users: Users
    faces: ServerFaces
    galleries: Galleries
    cameras: Cameras
    persons: Persons
    counters: Counters
    facens: FacenStorage
    uploads: Uploads
    locations: Locations
    """Locations of uploaded pictures, and the boxes that use each."""
    extractor: Extractor
    facens_lifecycle: FacensLifecycle
    """Keeps the facen storage consistent with MongoDB."""
    malformed: MalformedDocuments
    """Counts the documents that readers do not see."""
    database: Database = field(repr=False)
    """The documents of all users, without the check of the owner. For maintenance only: what a caller
    receives must come from the collections."""
    mongod: PrivateMongod | None = field(default=None, repr=False)
    """The private MongoDB server; None if `store.url` names another server."""
    box: str = ""
    """Name of this box."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: StoreSettings,
        persons: PersonsSettings | None = None,
        *,
        data_dir: Path,
        uploads: Uploads | None = None,
        extractor: PictureExtractor | None = None,
        facens: FacenStorage | None = None,
        facens_settings: FacensSettings | None = None,
        facen_size: int | None = None,
        pack: str | None = None,
        max_pixels: int = MAX_PIXELS,
        thumbnail_hosts: Sequence[str] = (),
        check_camera: Callable[[Mapping[str, Any]], None] = lambda camera: None,
        observer: StoreObserver | None = None,
        load_facens: bool = True,
        read_only: bool = False,
        close_deadline: Callable[[], Deadline] = lambda: Deadline.within(CLOSE_SECONDS),
        box: str = "",
    ) -> AsyncIterator["Context"]:
        """Open the store: MongoDB (a private server unless a URL is set), indexes, the facen storage.

        Args:
            data_dir: folder of the private mongod.
            uploads: where pictures are stored. Default: the folder `uploads` in the data folder.
            extractor: finds faces in pictures; without it `ctx.extractor.extract` is an error.
            facens: the facen storage. Default: that of `facens_settings`.
            facens_settings: default: exact search in the memory of this process.
            facen_size: number of dimensions of the model pack's facens; faces with any other are refused.
            pack: the model pack in use; facens of other packs are refused.
            max_pixels: maximum size of an uploaded picture; `extractor` has its own limit.
            thumbnail_hosts: hosts other than the upload server to which `upload_thumbnail` may send; see
                `store.uploads.external.AllowedHosts`.
            check_camera: raises BadValueError for a camera that the daemon cannot use; `Cameras.add` and
                updates refuse it.
            box: name of this box, recorded with its pictures. Default: the host name.
            load_facens: load the stored facens into the facen storage. A program that only reads documents
                starts faster without, but identifies no face.
            read_only: change nothing: no migration, no index, no record. A remote facen storage is left as it
                is.
            close_deadline: called when the store is closed; gives the deadline.

        Raises:
            StoreUnavailableError: MongoDB could not be started or reached.
            PackError: the stored facens are of another model pack.
            NewerSchemaError: a later version of Facend has written the database.
        """
        async with AsyncExitStack() as stack:
            url = settings.url.get_secret_value()
            mongod = None if url else _private_mongod(settings, data_dir, close_deadline)
            if mongod is not None:
                url = await stack.enter_async_context(mongod.running())
            database = await stack.enter_async_context(connect(url, settings))
            facens_settings = facens_settings or FacensSettings()
            uploads = uploads or FolderUploads(data_dir / "uploads")
            storage = facens or await open_storage(facens_settings, facen_size, pack)
            stack.push_async_callback(_close, storage)
            ctx = cls._compose(
                database,
                persons or PersonsSettings(),
                storage,
                uploads,
                Locations(database, uploads, box, data_dir),
                Extractor(extractor),
                observer or UnobservedStore(),
                facen_size,
                max_pixels,
                thumbnail_hosts,
                check_camera,
                mongod,
                QueryLimiter(settings.query_timeout_seconds),
                box,
            )
            await (ctx._check_schema() if read_only else ctx._prepare((persons or PersonsSettings()).scope))
            await ctx.facens_lifecycle.open(data_dir / "facens", pack, facen_size, claim=not read_only)
            if load_facens and not (read_only and facens_settings.is_remote):
                # A caller that passes a storage also keeps it up to date.
                await stack.enter_async_context(ctx.facens_lifecycle.running(follow=facens is None))
            yield ctx

    @staticmethod
    def exists(settings: StoreSettings, data_dir: Path) -> bool:
        """Whether there is a database to read; False if a private server would start with an empty one."""
        return bool(settings.url.get_secret_value()) or (data_dir / "mongod" / "db").is_dir()

    @property
    def fault(self) -> str:
        """Why the private MongoDB is not running; "" if it is, or if there is none."""
        return self.mongod.fault if self.mongod else ""

    async def ping(self, timeout_seconds: float) -> None:
        """Raises StoreUnavailableError if MongoDB does not answer in time."""
        await ping(self.database, timeout_seconds)

    @classmethod
    def _compose(
        cls,
        database: Database,
        settings: PersonsSettings,
        facens: FacenStorage,
        uploads: Uploads,
        locations: Locations,
        extractor: Extractor,
        observer: StoreObserver,
        facen_size: int | None,
        max_pixels: int,
        thumbnail_hosts: Sequence[str],
        check_camera: Callable[[Mapping[str, Any]], None],
        mongod: PrivateMongod | None,
        limiter: QueryLimiter,
        box: str,
    ) -> "Context":
        users = Users(database, observer, limiter)
        galleries = Galleries(database, users, facens, observer)
        limits = (facen_size, max_pixels, thumbnail_hosts)
        faces = ServerFaces(database, users, galleries, facens, uploads, observer, *limits, locations)
        counters = Counters(database, observer, limiter)
        persons = Persons(database, users, faces, galleries, counters, facens, settings, observer)
        cameras = Cameras(database, users, observer, check_camera)
        malformed = MalformedDocuments(database)
        lifecycle = FacensLifecycle(database, facens, faces.locks, malformed.notice)
        collections = (users, faces, galleries, cameras, persons, counters)
        return cls(
            *collections, facens, uploads, locations, extractor, lifecycle, malformed, database, mongod, box
        )

    async def _check_schema(self) -> None:
        await refuse_newer(self.database)
        await warn_of_older(self.database)

    async def _prepare(self, scope: PersonScope) -> None:
        await migrate(self.database)
        self.malformed.indexes = await create_indexes(self.database)
        await self.counters.ensure(COUNTER)
        await follow_scope(self.database, scope)


async def _close(storage: FacenStorage) -> None:
    if not await Deadline.within(STORAGE_CLOSE_SECONDS).wait(storage.close()):
        log.warning("the facen storage did not close in time and is left behind")


def _private_mongod(
    settings: StoreSettings, data_dir: Path, close_deadline: Callable[[], Deadline]
) -> PrivateMongod:
    return PrivateMongod(
        data_dir / "mongod", lambda: find_mongod(settings.mongod), settings.mongod_cache_mb, close_deadline
    )
