"""A recorder as a process of its own, which can be killed."""

import asyncio
from multiprocessing.connection import Connection

from bson import ObjectId

from store.observer import UnobservedStore
from store.spool.recorder import Recorder
from store.spool.spool import Spool
from tests.mongo import StoreArguments
from tests.sightings import RECORDING


def main(settings: StoreArguments, user: ObjectId, at_work: Connection) -> None:
    """Stores what waits in the spool, until it is killed; says when it begins."""
    asyncio.run(_main(settings, user, at_work))


async def _main(settings: StoreArguments, user: ObjectId, at_work: Connection) -> None:
    async with settings.open() as ctx:
        spool = Spool(settings.data_dir / "spool", 1_000_000_000, UnobservedStore())
        at_work.send("at work")
        await Recorder(ctx, user, spool, RECORDING, UnobservedStore(), lambda _: None).run()
