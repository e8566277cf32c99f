"""Commands that only read: neither MongoDB nor the data folder is another one afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from bson import ObjectId

from tests.commands import Command
from tests.daemon_process import free_port, write_settings

COMMANDS = (
    "export faces",
    "export persons",
    "persons list",
    "persons changes",
    "persons proposals",
    "users list",
    "cameras list",
    "galleries list",
    "facens stats",
    "doctor",
    "check",
)


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex[:16]}"


@pytest.fixture
def database(mongo_url: str, name: str) -> Iterator[pymongo.database.Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def settings(mongo_url: str, name: str, tmp_path: Path) -> Path:
    store = {"url": mongo_url, "database": name}
    return write_settings(tmp_path, [], store=store, http={"port": free_port()})


def everything(database: pymongo.database.Database[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: (sorted(map(str, database[name].find())), database[name].index_information())
        for name in database.list_collection_names()
    }


def files(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns, path.stat().st_uid)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("stored", [False, True], ids=["an empty database", "documents of an older schema"])
def test_reading_changes_nothing(
    facend: Command,
    settings: Path,
    database: pymongo.database.Database[dict[str, Any]],
    stored: bool,
    command: str,
) -> None:
    """No migration, index, user, counter or file."""
    data = settings.parent / "data"
    if stored:
        owner = ObjectId()
        database.users.insert_one({"_id": owner, "token": "a" * 32, "active": True})
        database.faces.insert_one({"_id": 5, "owner": owner, "galleries": ["default"]})
        data.mkdir(mode=0o700)
        (data / "token").write_text("a" * 32)
    before = everything(database), files(settings.parent)
    status, _, error = facend(*command.split(), "--settings", settings)
    assert (everything(database), files(settings.parent)) == before
    assert status == 0 or command == "doctor", error
    assert "Traceback" not in error
    if stored and command == "export faces":
        assert "`facend run` migrates them" in error


def test_nothing_is_made_where_no_daemon_ran(facend: Command, tmp_path: Path) -> None:
    """Without a database of its own the private server is not started just to find it empty."""
    settings = write_settings(tmp_path, [])
    before = files(tmp_path)
    assert facend("persons", "list", "--settings", settings)[0] == 0
    status, _, error = facend("persons", "show", "1", "--settings", settings)
    assert (status, "nothing is stored yet" in error) == (1, True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("command", ["export faces", "users add", "galleries add staff"])
def test_documents_of_a_later_version_are_refused(
    facend: Command, settings: Path, database: pymongo.database.Database[dict[str, Any]], command: str
) -> None:
    """One sentence names the collection and both schemas; nothing is changed."""
    database.faces.insert_one({"_id": 5, "owner": ObjectId(), "gallery": [], "schema": 9})
    before = everything(database)
    status, _, error = facend(*command.split(), "--settings", settings)
    assert status == 1
    assert "this Facend is older than the data: a document in faces has schema 9" in error
    assert len(error.splitlines()) == 1
    assert everything(database) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize(
    "command",
    [
        "enroll . --gallery staff",
        "users add",
        "persons list",
        "doctor",
        "doctor --repair",
        "models --fetch opencv-zoo",
        "run",
        "cameras add gate rtsp://192.0.2.1/x",
    ],
)
def test_root_leaves_nothing_in_the_folder_of_a_service(
    facend: Command, tmp_path: Path, command: str
) -> None:
    """Every command is refused before it creates a file, and names the user to run it as."""
    settings = write_settings(tmp_path, [], models={})
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, 12345, 12345)
    before = files(data)
    status, _, error = facend(*command.split(), "--settings", settings)
    assert (status, "Traceback" in error) == (1, False), error
    assert "run this as" in error
    assert files(data) == before


def test_what_commands_write_is_the_users_alone(facend: Command, settings: Path) -> None:
    """Whatever the umask of the shell."""
    before = os.umask(0)
    try:
        assert facend("users", "add", "--settings", settings)[0] == 0
    finally:
        os.umask(before)
    for path in (settings.parent / "data", *(settings.parent / "data").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
