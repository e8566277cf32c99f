"""A job under a lease, as a process of its own, which can be frozen."""

import asyncio
from multiprocessing.connection import Connection

from bson import ObjectId

from store.errors import LeaseLostError
from store.mongo import term_leases
from store.mongo.term_leases import TermLeases
from tests.mongo import StoreArguments

LEASE_SECONDS = 2.0


def main(settings: StoreArguments, owner: ObjectId, pipe: Connection) -> None:
    """Count up in MongoDB under the lease `merge`, and report how that ends."""
    term_leases.LEASE_SECONDS, term_leases.RENEW_SECONDS = LEASE_SECONDS, 0.1
    asyncio.run(_main(settings, owner, pipe))


async def _main(settings: StoreArguments, owner: ObjectId, pipe: Connection) -> None:
    async with settings.open() as ctx:
        numbers = ctx.database["numbers"]
        try:
            async with TermLeases(ctx.database, "job", owner, "hall").held("merge"):
                while True:
                    await numbers.update_one({"_id": "job"}, {"$inc": {"count": 1}}, upsert=True)
                    pipe.send("counted")
        except LeaseLostError as error:
            pipe.send(str(error))
