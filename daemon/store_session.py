"""Opens the store for the daemon: its context, the owner of this box's data, and the leases on cameras."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from daemon.config.service_user import service_user
from daemon.config.settings import Settings
from daemon.config.store_context import open_context
from daemon.errors import StartError
from daemon.runtime.metrics import Metrics
from pipeline.base.background import supervised
from pipeline.base.deadline import Deadline
from pipeline.extractor import FaceExtractor
from pipeline.models.loader import Models
from store import BadValueError, ConflictError, Context, StoreUnavailableError, Users
from store.mongo.term_leases import TermLeases
from store.visits.follow_faces import follow_faces_at_start


@dataclass(frozen=True, slots=True)
class StoreSession:
    """The store while it is open."""

    ctx: Context
    owner: Users.Model
    """The user who owns this box's data."""
    camera_leases: TermLeases
    """Which box reads each camera of the owner."""
    box_id: str
    """Distinguishes boxes of the same name; "" where it cannot be kept."""


@asynccontextmanager
async def open_session(
    settings: Settings, models: Models, metrics: Metrics, close_deadline: Callable[[], Deadline]
) -> AsyncIterator[StoreSession]:
    """Open the store. At the end of the block it is closed within the deadline that `close_deadline` returns.

    Raises:
        StoreError: the store cannot be opened.
    """
    async with open_context(
        settings,
        extractor=FaceExtractor(models, settings.pipeline.max_pixels),
        facen_size=models.pack.facen_size,
        pack=models.pack.name,
        load_facens=True,
        observer=metrics,
        close_deadline=close_deadline,
    ) as ctx:
        owner = await _owner(ctx, settings)
        box_id = await ctx.locations.box_id()
        leases = TermLeases(ctx.database, "camera", owner["_id"], settings.box, box_id=box_id)
        background = (
            supervised(ctx.malformed.watch(), "malformed documents"),
            supervised(follow_faces_at_start(ctx.database), "documents of visits"),
        )
        try:
            yield StoreSession(ctx, owner, leases, box_id)
        finally:
            for task in background:
                task.cancel()


async def _owner(ctx: Context, settings: Settings) -> Users.Model:
    """The service user. StoreUnavailableError if it cannot be found: sightings then wait in the spool."""
    try:
        return await service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)
    except (StartError, BadValueError, ConflictError) as error:
        raise StoreUnavailableError(f"the user who owns this box's data cannot be found: {error}") from error
