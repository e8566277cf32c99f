"""The order in which the daemon shuts down."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import structlog

from daemon.components import Components
from daemon.runtime.shutdown_limit import side_by_side
from daemon.runtime.tasks import TaskGroup
from pipeline.base.background import in_thread, supervised
from pipeline.base.deadline import Deadline

log = structlog.get_logger(__name__)

CAMERAS_STOP_SECONDS = 1.0

EVENTS_SECONDS = 0.3
"""Time for delivering the last events, after all publishers have ended."""

MARGIN_SECONDS = 0.3
"""Time reserved after the end of the last visits."""

STORE_CLOSE_SECONDS = 4.8
"""Time reserved for closing the store after all producers of sightings have ended."""


async def shut_down(
    components: Components, tasks: TaskGroup, http: AsyncExitStack, deadline: Deadline
) -> None:
    """Stop the producers of sightings and the users of the store, then the store, within one deadline."""
    log.info("facend stops")
    components.jobs.stop()
    tasks.cancel()
    frames = supervised(_end_frames(components, deadline.leaving(MARGIN_SECONDS)), "end of frames")
    first = deadline.leaving(STORE_CLOSE_SECONDS)
    await side_by_side(
        first,
        storing=_store_the_rest(components, frames, first.leaving(MARGIN_SECONDS)),
        background_tasks=tasks.ended(first.leaving(MARGIN_SECONDS)),
        http=http.aclose(),
    )
    await components.storing.close(deadline)
    await asyncio.wait({frames}, timeout=deadline.remaining())
    await components.events.close(deadline.at_most(EVENTS_SECONDS).remaining())
    if left := len(components.spool):
        log.info("sightings wait in the spool for the next start", sightings=left)


async def _end_frames(components: Components, deadline: Deadline) -> None:
    """Stop the cameras, and spool the visits in progress; works without the store."""
    await side_by_side(
        deadline,
        cameras=components.supervisor.stop(deadline.at_most(CAMERAS_STOP_SECONDS).remaining()),
        analysis=_end_analysis(components, deadline),
    )


async def _end_analysis(components: Components, deadline: Deadline) -> None:
    if not await in_thread(partial(components.analysis.stop, deadline.remaining()), "end of the analysis"):
        log.warning("the analysis did not end in time; visits in progress are not stored")


async def _store_the_rest(components: Components, frames: asyncio.Task[None], deadline: Deadline) -> None:
    """Wait for the last sightings and store those in the spool, as far as time allows."""
    await asyncio.wait({frames}, timeout=deadline.remaining())
    await deadline.wait(components.stored_cameras.release())
    await components.storing.drain(deadline.remaining())
