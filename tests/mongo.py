"""A real MongoDB for tests: one private server for the whole run, with an empty database for each test."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from pydantic import SecretStr

from store.collections.users import User
from store.context import Context
from store.mongod.embedded import PrivateMongod
from store.mongod.program import find_mongod
from store.settings import PersonsSettings, StoreSettings


class MongodThread:
    """The private mongod, with its own thread and event loop, which outlives the event loops of the tests."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="Facend Tests, Büro #"))
        self._mongod = PrivateMongod(self._folder / "mongod", find_mongod)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        try:
            async with self._mongod.running():
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()

    def start(self) -> str:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self._mongod.url

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder)


_SERVER = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def mongo_url(request: pytest.FixtureRequest) -> str:
    """The URL of the run's only server, which starts with the first test that uses this fixture."""
    stash = request.config.stash
    if _SERVER not in stash:
        server = MongodThread()
        stash[_SERVER] = server.start()
        request.config.add_cleanup(server.stop)
    return stash[_SERVER]


@dataclass(frozen=True)
class StoreArguments:
    """Arguments of `Context.open`; all contexts opened with them share their data."""

    settings: StoreSettings
    persons: PersonsSettings
    data_dir: Path

    def open(self, **options: Any) -> AbstractAsyncContextManager[Context]:
        """`options`: as in `Context.open`."""
        return Context.open(self.settings, self.persons, data_dir=self.data_dir, **options)


class ReusedDatabase:
    """A database that is emptied after each test, because creating its indexes takes half a second."""

    def __init__(self, url: str) -> None:
        self.name = f"test-{uuid4().hex[:16]}"
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url)
        self._database = self._client[self.name]
        self._indexes = asyncio.run(self._created(url))

    async def _created(self, url: str) -> dict[str, Any]:
        settings = StoreSettings(url=SecretStr(url), database=self.name)
        with tempfile.TemporaryDirectory() as data_dir:
            async with Context.open(settings, data_dir=Path(data_dir)):
                return self._found()

    def _found(self) -> dict[str, Any]:
        names = self._database.list_collection_names()
        return {name: self._database[name].index_information() for name in names}

    def empty(self) -> None:
        """Remove all documents, and collections that a test has added or changed."""
        for name, indexes in self._found().items():
            if self._indexes.get(name) == indexes:
                self._database[name].delete_many({})
            else:
                self._database.drop_collection(name)

    def close(self) -> None:
        self._client.close()


_DATABASE = pytest.StashKey[ReusedDatabase]()


@pytest.fixture
def store_settings(
    request: pytest.FixtureRequest, mongo_url: str, tmp_path: Path
) -> Iterator[StoreArguments]:
    """Settings with an empty database and an empty data folder."""
    stash = request.config.stash
    if _DATABASE not in stash:
        stash[_DATABASE] = ReusedDatabase(mongo_url)
        request.config.add_cleanup(stash[_DATABASE].close)
    settings = StoreSettings(url=SecretStr(mongo_url), database=stash[_DATABASE].name)
    yield StoreArguments(settings, PersonsSettings(time_zone="UTC"), tmp_path)
    stash[_DATABASE].empty()


@pytest.fixture
async def ctx(store_settings: StoreArguments) -> AsyncIterator[Context]:
    """An open context."""
    async with store_settings.open() as context:
        yield context


@pytest.fixture
async def user(ctx: Context) -> User:
    """A user of the open context."""
    return await ctx.users.add({})


@pytest.fixture
def uploads(store_settings: StoreArguments) -> Path:
    """The folder of the open context's pictures."""
    return store_settings.data_dir / "uploads"
