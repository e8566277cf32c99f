"""The way to MongoDB: the only module that knows its driver."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from pipeline.base.background import in_thread
from pipeline.base.deadline import Deadline
from store.errors import BadValueError, StoreUnavailableError
from store.mongo.gate import GatedCollection, GatedDatabase
from store.settings import StoreSettings

# Motor reads this when it is imported. Each query in progress holds one of its threads, and its default, five
# for each core, is so few that slow queries would hold up all others.
os.environ.setdefault("MOTOR_MAX_WORKERS", "32")

from motor.motor_asyncio import AsyncIOMotorClient

Document = dict[str, Any]
# The driver's classes are generic for the type checker alone.
Client: TypeAlias = "AsyncIOMotorClient[Document]"
Collection: TypeAlias = GatedCollection
Database: TypeAlias = GatedDatabase

ALREADY_INITIALISED = 23
NOT_YET_INITIALISED = 94
SILENCE_MS = 30_000  # a server that keeps a connection open and says nothing for so long is as good as away
NEW_CONFIGURATION_INCOMPATIBLE = 103
LEAVE_SECONDS = 0.5


@asynccontextmanager
async def connect(url: str, settings: StoreSettings) -> AsyncIterator[Database]:
    """The database behind `url`, which has answered once; closed at the end.

    Writes are acknowledged by a majority of the replica set and journaled: a server that is in none would
    otherwise acknowledge what a power cut takes. They are repeated by the driver when a primary goes away in
    the middle. Reads ask the primary, because who looks for a person before making one has to see the one
    just made. Options in the URL that say otherwise do not count. Times carry their zone (UTC).
    """
    where = masked(url)
    try:
        client: Client = AsyncIOMotorClient(
            url,
            appname="facend",
            retryWrites=True,
            retryReads=True,
            serverSelectionTimeoutMS=int(settings.server_selection_timeout_seconds * 1000),
            connectTimeoutMS=int(settings.connect_timeout_seconds * 1000),
            socketTimeoutMS=SILENCE_MS,
        )
    except (PyMongoError, OSError, ValueError, TypeError) as error:
        # Options that exclude each other, a file of certificates that is not there. The driver's text may
        # hold the password.
        raise StoreUnavailableError(
            f"MongoDB at {where} cannot be asked ({type(error).__name__}); check the options of store.url"
        ) from None
    try:
        try:
            with pymongo.timeout(settings.connect_timeout_seconds):
                await client.admin.command("ping")
        except PyMongoError as error:
            raise StoreUnavailableError(
                f"MongoDB at {where} did not answer within {settings.connect_timeout_seconds:g} s "
                f"({type(error).__name__}); check store.url and that the server runs"
            ) from error
        # Times beyond Python's, and text that is no UTF-8, must not keep other documents from being read.
        options: CodecOptions[dict[str, Any]] = CodecOptions(
            tz_aware=True,
            datetime_conversion=DatetimeConversion.DATETIME_AUTO,
            unicode_decode_error_handler="replace",
        )
        database = client.get_database(
            settings.database,
            codec_options=options,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern(w="majority", j=True),
        )
        yield GatedDatabase(database)
    finally:
        await _leave(client)


async def ping(database: Database, timeout_seconds: float) -> None:
    """Returns where MongoDB answers in time; StoreUnavailableError where it does not."""
    try:
        with pymongo.timeout(timeout_seconds):
            await database.command("ping")
    except PyMongoError as error:
        raise StoreUnavailableError(
            f"MongoDB does not answer within {timeout_seconds:g} s ({type(error).__name__})"
        ) from error


async def _leave(client: Client) -> None:
    """Closes the client. It tells the server which sessions end, and a server that hangs must hold up neither
    the event loop nor our own end."""

    def close() -> None:
        with pymongo.timeout(LEAVE_SECONDS):
            client.close()

    await Deadline.within(2 * LEAVE_SECONDS).wait(in_thread(close, "closing MongoDB's client"))


class ReplicaSetOfOne:
    """A server that is a whole replica set by itself, under the address of its unix socket."""

    name = "facend"

    def __init__(self, url: str, address: str) -> None:
        self._url = url
        self._address = address

    async def ready(self, timeout_seconds: float) -> None:
        """Returns when the server takes writes; makes it a replica set the first time.

        Raises:
            StoreUnavailableError: it did not get that far in time.
        """
        client: Client = AsyncIOMotorClient(self._url, serverSelectionTimeoutMS=1000, appname="facend start")
        try:
            async with asyncio.timeout(timeout_seconds):
                # An election of one takes milliseconds, and the server offers no event to wait for.
                while not await self._writable(client):  # noqa: ASYNC110  see above
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"the private mongod at {self._address} takes no writes after {timeout_seconds:g} s"
            ) from error
        finally:
            await _leave(client)

    async def _writable(self, client: Client) -> bool:
        try:
            state = await client.admin.command("hello")
            if state.get("isreplicaset"):  # it has no configuration, or one that does not name it
                await self._configure(client)
            return bool(state["isWritablePrimary"])
        except ConnectionFailure:  # not yet listening
            return False
        except OperationFailure as error:
            if error.code in (ALREADY_INITIALISED, NOT_YET_INITIALISED, NEW_CONFIGURATION_INCOMPATIBLE):
                return False
            raise StoreUnavailableError(
                f"the private mongod at {self._address} refuses: {error.details}"
            ) from error

    async def _configure(self, client: Client) -> None:
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code != NOT_YET_INITIALISED:
                raise
            await client.admin.command("replSetInitiate", {"_id": self.name, "members": [self._self()]})
            return
        if [member["host"] for member in config["members"]] != [self._address]:
            # The data folder has another path than last time.
            config["members"] = [self._self()]
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)

    def _self(self) -> dict[str, object]:
        return {"_id": 0, "host": self._address}


def masked(url: str) -> str:
    """The hosts of a MongoDB URL, without user, password and options; BadValueError where it is none."""
    try:
        parsed = parse_uri(url, connect_timeout=0.001) if url.startswith("mongodb://") else None
    except (InvalidURI, PyMongoError, ValueError) as error:
        # The driver's message can hold the password, so it is not passed on.
        raise BadValueError("store.url is no MongoDB URL; expected mongodb://host:port/?options") from error
    if parsed is None:
        return url.rsplit("@", 1)[-1].split("?", 1)[0]
    return ", ".join(host if port is None else f"{host}:{port}" for host, port in parsed["nodelist"])
