"""Opens the store as configured in the settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from daemon.config.camera_documents import check_document
from daemon.config.settings import Settings
from daemon.config.uploads import open_uploads
from pipeline.base.deadline import Deadline
from store import Context
from store.collections.extraction import PictureExtractor
from store.context import CLOSE_SECONDS
from store.observer import StoreObserver


@asynccontextmanager
async def open_context(
    settings: Settings,
    *,
    extractor: PictureExtractor | None = None,
    facen_size: int | None = None,
    pack: str | None = None,
    load_facens: bool = False,
    read_only: bool = False,
    observer: StoreObserver | None = None,
    close_deadline: Callable[[], Deadline] = lambda: Deadline.within(CLOSE_SECONDS),
) -> AsyncIterator[Context]:
    """The open store, until the end of the block.

    load_facens: load the facens. read_only: write nothing. close_deadline: returns the deadline for closing
    the store at the end of the block.
    """
    async with (
        open_uploads(settings) as uploads,
        Context.open(
            settings.store,
            persons=settings.persons,
            data_dir=settings.data_dir,
            uploads=uploads,
            extractor=extractor,
            facens_settings=settings.facens,
            facen_size=facen_size,
            pack=pack,
            max_pixels=settings.pipeline.max_pixels,
            thumbnail_hosts=settings.uploads.thumbnail_hosts,
            check_camera=check_document,
            load_facens=load_facens,
            box=settings.box,
            read_only=read_only,
            observer=observer,
            close_deadline=close_deadline,
        ) as ctx,
    ):
        yield ctx
