"""Hearing of a collection's changes, where MongoDB tells of them.

See https://www.mongodb.com/docs/manual/changeStreams/.
"""

import asyncio
from collections.abc import Callable

import structlog

from pipeline.base.backoff import Backoff
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS

log = structlog.get_logger()

NO_STREAMS = 40573
"""MongoDB's code where it is no replica set."""
AWAIT_MS = 500
"""How long the server holds a question without news; news are sent at once."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


async def watch(collection: Collection, notify: Callable[[], None]) -> None:
    """Call `notify` at every change of the collection, until cancelled.

    Also whenever it begins to watch (again), because something may have been missed. Returns where MongoDB is
    no replica set, and tells of nothing.
    """
    backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        try:
            async with collection.watch([{"$project": {"_id": 1}}], max_await_time_ms=AWAIT_MS) as stream:
                notify()
                backoff.reset()
                async for _ in stream:
                    notify()
        except DRIVER_ERRORS as error:
            if getattr(error, "code", None) == NO_STREAMS:
                return
            log.debug("changes are not heard of at present", collection=collection.name, reason=str(error))
        await asyncio.sleep(backoff.pause_seconds())
