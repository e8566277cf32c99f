"""Notifies of changes in a collection, through MongoDB's change streams.

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
"""MongoDB's error code for change streams without a replica set."""
AWAIT_MS = 500
"""Maximum time for which the server waits for changes before it answers."""
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0


async def watch(collection: Collection, notify: Callable[[], None]) -> None:
    """Call `notify` after every change of the collection, until cancelled.

    Also calls it whenever the stream is opened, because changes may have been missed. Returns if MongoDB is
    not a replica set, and so has no change streams.
    """
    backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
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
