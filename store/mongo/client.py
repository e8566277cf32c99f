"""The connection to MongoDB. No other module imports motor."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from pipeline.base.background import in_thread
from pipeline.base.deadline import Deadline
from pipeline.base.urls import mask_url
from store.errors import BadValueError, StoreUnavailableError
from store.mongo.connection_errors import connection_error
from store.mongo.gate import GatedCollection, GatedDatabase
from store.mongo_url import EXPECTED
from store.settings import StoreSettings

# Motor reads this at import. Each query in progress holds a thread; the default of five for each core lets
# slow queries block all others.
os.environ.setdefault("MOTOR_MAX_WORKERS", "32")

from motor.motor_asyncio import AsyncIOMotorClient

Document = dict[str, Any]
# The driver's classes are generic only for the type checker.
Client: TypeAlias = "AsyncIOMotorClient[Document]"
Collection: TypeAlias = GatedCollection
Database: TypeAlias = GatedDatabase

ALREADY_INITIALISED = 23
NOT_YET_INITIALISED = 94
SOCKET_TIMEOUT_MS = 30_000  # needed because a server that hangs keeps its connections open
NEW_CONFIGURATION_INCOMPATIBLE = 103
CLOSE_SECONDS = 0.5


@asynccontextmanager
async def connect(url: str, settings: StoreSettings) -> AsyncIterator[Database]:
    """Connect to the database at `url`; yields once the server has answered, closes the client at the end.

    Writes are acknowledged by a majority of the replica set and journaled, so that a power cut loses none;
    the driver repeats them when the primary changes. Reads go to the primary: a search for a person has to
    see the one that was just created. Options in the URL do not change this. Times have the time zone UTC.

    Raises:
        BadValueError: `url` is not a MongoDB URL.
        StoreUnavailableError: the options of the URL cannot be used, the server does not answer, or it
            refuses the login.
    """
    where = mask_url(url).partition("?")[0]
    try:
        client: Client = AsyncIOMotorClient(
            url,
            appname="facend",
            retryWrites=True,
            retryReads=True,
            serverSelectionTimeoutMS=int(settings.server_selection_timeout_seconds * 1000),
            connectTimeoutMS=int(settings.connect_timeout_seconds * 1000),
            socketTimeoutMS=SOCKET_TIMEOUT_MS,
            **settings.login,
        )
    except InvalidURI:
        raise BadValueError(f"store.url is not a MongoDB URL; {EXPECTED}") from None
    except (PyMongoError, OSError, ValueError, TypeError) as error:
        # Conflicting options, or a missing certificate file. The driver's text may contain the password.
        raise StoreUnavailableError(
            f"MongoDB at {where} cannot be used ({type(error).__name__}); check the options of store.url"
        ) from None
    try:
        try:
            with pymongo.timeout(settings.connect_timeout_seconds):
                await client.admin.command("ping")
                # `ping` needs no login, reading does.
                # Not with the read preference of the URL: a replica set of one has no secondary.
                plain = client.get_database(settings.database, read_preference=ReadPreference.PRIMARY)
                await plain["users"].find_one({}, {"_id": True})
        except PyMongoError as error:
            raise connection_error(error, where, settings) from error
        # Times outside Python's range and text that is not UTF-8 must not make other documents unreadable.
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
        await _close(client)


async def try_connection(settings: StoreSettings) -> str:
    """Connect, log in and read once. Returns a sentence with server, version and database.

    Raises:
        StoreUnavailableError, BadValueError: as `connect`.
    """
    url = settings.url.get_secret_value()
    async with connect(url, settings) as database:
        version = (await database.client.server_info())["version"]
    return f"MongoDB {version} at {mask_url(url).partition('?')[0]} answers; database {settings.database}"


async def ping(database: Database, timeout_seconds: float) -> None:
    """Raises StoreUnavailableError if MongoDB does not answer in time."""
    try:
        with pymongo.timeout(timeout_seconds):
            await database.command("ping")
    except PyMongoError as error:
        raise StoreUnavailableError(
            f"MongoDB does not answer within {timeout_seconds:g} s ({type(error).__name__})"
        ) from error


async def _close(client: Client) -> None:
    """Close the client in a thread and within a deadline, because it sends a message to the server, which may
    hang."""

    def close() -> None:
        with pymongo.timeout(CLOSE_SECONDS):
            client.close()

    await Deadline.within(2 * CLOSE_SECONDS).wait(in_thread(close, "closing MongoDB's client"))


class ReplicaSetOfOne:
    """A replica set with one member, whose address is the path of its unix socket."""

    name = "facend"

    def __init__(self, url: str, address: str) -> None:
        self._url = url
        self._address = address

    async def ready(self, timeout_seconds: float) -> None:
        """Wait until the server accepts writes; initiate the replica set the first time.

        Raises:
            StoreUnavailableError: it does not accept writes in time.
        """
        client: Client = AsyncIOMotorClient(self._url, serverSelectionTimeoutMS=1000, appname="facend start")
        try:
            async with asyncio.timeout(timeout_seconds):
                # The election takes milliseconds, and the server offers no event to wait for.
                while not await self._is_writable(client):  # noqa: ASYNC110  see above
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"the private mongod at {self._address} accepts no writes after {timeout_seconds:g} s"
            ) from error
        finally:
            await _close(client)

    async def _is_writable(self, client: Client) -> bool:
        try:
            state = await client.admin.command("hello")
            if state.get("isreplicaset"):  # no configuration, or one without this address
                await self._configure(client)
            return bool(state["isWritablePrimary"])
        except ConnectionFailure:  # not yet listening
            return False
        except OperationFailure as error:
            if error.code in (ALREADY_INITIALISED, NOT_YET_INITIALISED, NEW_CONFIGURATION_INCOMPATIBLE):
                return False
            raise StoreUnavailableError(
                f"the private mongod at {self._address} refuses its configuration: {error.details}"
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
            # The data folder was moved.
            config["members"] = [self._self()]
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)

    def _self(self) -> dict[str, object]:
        return {"_id": 0, "host": self._address}
