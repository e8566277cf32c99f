"""Notification of changes of a collection, by MongoDB's change streams.

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
"""MongoDB's error code of a server that is not in a replica set."""
AWAIT_MS = 500
"""Maximum time for which the server holds a request without changes; changes are sent at once."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


async def watch(collection: Collection, notify: Callable[[], None]) -> None:
    """Call `notify` at every change of the collection, until cancelled.

    Also whenever the stream is opened (again), because changes may have been missed. Returns if MongoDB is
    not a replica set and has no change streams.
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
            log.debug(
                "the change stream cannot be read at present", collection=collection.name, reason=str(error)
            )
        await asyncio.sleep(backoff.pause_seconds())
