"""The private mongod as a process."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store.errors import StoreUnavailableError
from store.mongo.client import connect
from store.mongod.embedded import DISK_CHECK_SECONDS, PrivateMongod
from store.mongod.processes import find_processes
from store.mongod.program import find_mongod
from store.mongod.socket_folder import MAX_SOCKET_BYTES, SOCKETS, socket_folder
from store.settings import StoreSettings
from tests.small_disk import fill, small_disk

SETTINGS = StoreSettings(connect_timeout_seconds=30)


async def count_after_insert(url: str) -> int:
    async with connect(url, SETTINGS) as database:
        await database["things"].insert_one({})
        return int(await database["things"].count_documents({}))


def running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def tcp_sockets(pid: int) -> list[str]:
    """The lines of the kernel's TCP tables for the process's sockets."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    tables = [Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    return [line for table in tables for line in table if line.split()[9] in inodes]


async def test_keeps_documents_in_a_private_folder(tmp_path: Path) -> None:
    """Stopped, moved and started again it has the same documents; other users cannot access the folder."""
    async with PrivateMongod(tmp_path / "one", find_mongod).running() as url:
        assert await count_after_insert(url) == 1
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o700
    (tmp_path / "one").rename(tmp_path / "two")
    async with PrivateMongod(tmp_path / "two", find_mongod).running() as url:
        assert await count_after_insert(url) == 2


async def test_listens_only_on_a_unix_socket(tmp_path: Path) -> None:
    """No TCP port is open, and only the owner can use the socket."""
    mongod = PrivateMongod(tmp_path, find_mongod)
    async with mongod.running():
        assert mongod.pid
        assert tcp_sockets(mongod.pid) == []
        sockets = await asyncio.to_thread(lambda: list(socket_folder(tmp_path).iterdir()))
        assert len(sockets) == 2
        assert all(stat.S_IMODE(socket.lstat().st_mode) & 0o077 == 0 for socket in sockets)


async def test_the_server_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets in this process's environment are not passed to the server."""
    monkeypatch.setenv("DOOR_PASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/facend.service")
    mongod = PrivateMongod(tmp_path, find_mongod)
    async with mongod.running():
        environment = await asyncio.to_thread(Path(f"/proc/{mongod.pid}/environ").read_bytes)
    assert b"PATH=" in environment
    assert b"hunter2" not in environment
    assert b"CREDENTIALS_DIRECTORY" not in environment


async def test_transactions_and_change_streams_work(tmp_path: Path) -> None:
    """The server is a replica set with one member."""
    async with PrivateMongod(tmp_path, find_mongod).running() as url, connect(url, SETTINGS) as database:
        await database.create_collection("things")
        async with database["things"].watch() as changes:
            async with await database.client.start_session() as session, session.start_transaction():
                await database["things"].insert_one({"_id": 1}, session=session)
            assert (await changes.next())["documentKey"] == {"_id": 1}


async def test_restarts_after_a_crash(tmp_path: Path) -> None:
    """Killed twice, it returns with every acknowledged write, at the same URL."""
    mongod = PrivateMongod(tmp_path, find_mongod)
    async with mongod.running() as url:
        for crash in range(1, 3):
            assert await count_after_insert(url) == crash
            before = mongod.pid
            assert before
            os.kill(before, signal.SIGKILL)
            assert await count_after_insert(url) == crash + 1
            assert mongod.pid != before
            async with connect(url, SETTINGS) as database:
                await database["things"].delete_one({})


KILLED_OWNER = """
import asyncio, os, signal, sys
from pathlib import Path
from store.mongod import embedded, server
from store.mongod.program import find_mongod
if sys.argv[2] == "orphan":
    server.dies_with_parent = lambda: None

async def main():
    mongod = embedded.PrivateMongod(Path(sys.argv[1]), find_mongod)
    async with mongod.running():
        print(mongod.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("outcome", ["ends with its owner", "orphan"])
async def test_starts_after_a_killed_owner(tmp_path: Path, outcome: str) -> None:
    """After kill -9 of its owner the server ends, or the next owner ends it."""
    root = Path(__file__).parents[4]
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED_OWNER, str(tmp_path), outcome),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(root)},
    )
    output, _ = await owner.communicate()
    pid = int(output.split()[-1])
    if outcome == "orphan":
        await asyncio.sleep(0.5)
        assert running(pid)
    async with PrivateMongod(tmp_path, find_mongod).running() as url:
        assert not running(pid)
        assert await count_after_insert(url) == 1


async def test_a_second_process_is_a_guest(tmp_path: Path) -> None:
    """It uses the running server, needs no program, and does not stop the server."""

    def no_program() -> Path:
        raise AssertionError("a guest starts nothing")

    owner = PrivateMongod(tmp_path, find_mongod)
    async with owner.running():
        guest = PrivateMongod(tmp_path, no_program)
        async with guest.running() as url:
            assert guest.pid is None
            assert await count_after_insert(url) == 1
        assert owner.pid
        assert running(owner.pid)
    assert find_processes("mongod", str(tmp_path / "db")) == []


async def test_a_guest_takes_over_when_the_owner_ends(tmp_path: Path) -> None:
    """Calls work again soon after the owner's end, at the same URL; the last guest stops the server."""
    first, second, third = (PrivateMongod(tmp_path, find_mongod) for _ in range(3))
    async with AsyncExitStack() as guests:
        async with first.running():
            url = await guests.enter_async_context(second.running())
            await guests.enter_async_context(third.running())
            database = await guests.enter_async_context(connect(url, SETTINGS))
            await database["things"].insert_one({"_id": 1})
        assert first.pid is None
        async with asyncio.timeout(20):
            await database["things"].replace_one({"_id": 2}, {"_id": 2}, upsert=True)
        assert await database["things"].count_documents({}) == 2
        assert (second.pid is None) != (third.pid is None)
    assert find_processes("mongod", str(tmp_path / "db")) == []


async def test_a_guest_takes_over_from_a_killed_owner(tmp_path: Path) -> None:
    """Kill -9 of the owner ends its server; the guest soon starts another one."""
    root = Path(__file__).parents[4]
    script = KILLED_OWNER.replace("os.kill(os.getpid(), signal.SIGKILL)", "await asyncio.sleep(60)")
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path), "ends with its owner"),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(root)},
    )
    assert owner.stdout is not None
    await owner.stdout.readline()
    guest = PrivateMongod(tmp_path, find_mongod)
    async with guest.running() as url:
        assert await count_after_insert(url) == 1
        owner.kill()
        await owner.wait()
        assert await count_after_insert(url) == 2
        assert guest.pid is not None


FOLDERS = {
    "upper case": "Projects",
    "a URL's characters": "a@b:c#d?e%41&f=g+h",
    "a list's separators": "x,y;z",
    "a shell's characters": 'it\'s "$HOME" `x` \\ *[?]{a,b}|&<>',
    "white space": " a b\tc\nd ",
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "longer than a socket's path": "/".join(("d" * 100, "E" * 255)),
}


@pytest.mark.parametrize("name", FOLDERS.values(), ids=FOLDERS)
async def test_any_folder_can_hold_the_data(tmp_path: Path, name: str) -> None:
    """Owner and guest reach the server for any folder name; the guest takes it over at the same URL."""
    folder = tmp_path / name
    async with AsyncExitStack() as guests:
        async with PrivateMongod(folder, find_mongod).running() as url:
            guest = PrivateMongod(folder, find_mongod)
            assert await guests.enter_async_context(guest.running()) == url
            async with (
                connect(url, SETTINGS) as database,
                await database.client.start_session() as session,
                session.start_transaction(),
            ):
                await database["things"].insert_one({}, session=session)
        assert await count_after_insert(url) == 2
        assert guest.pid is not None


async def test_a_symbolic_link_is_the_same_folder(tmp_path: Path) -> None:
    """A guest that uses a symbolic link to the folder reaches the owner's server."""
    (tmp_path / "Big Disk").mkdir()
    (tmp_path / "link").symlink_to("Big Disk")
    async with PrivateMongod(tmp_path / "Big Disk" / "mongod", find_mongod).running() as url:
        guest = PrivateMongod(tmp_path / "link" / "mongod", find_mongod)
        async with guest.running() as same:
            assert (same, guest.pid) == (url, None)
            assert await count_after_insert(same) == 1


async def test_owner_and_guest_may_have_different_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR and XDG_RUNTIME_DIR do not change the folder of the sockets."""
    folder = tmp_path / "Data"
    async with PrivateMongod(folder, find_mongod).running() as url:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        async with PrivateMongod(folder, find_mongod).running() as same:
            assert same == url
            assert await count_after_insert(same) == 1


async def test_removes_the_sockets_folder(tmp_path: Path) -> None:
    """The folder of the sockets has a short plain path and mode 0700, and is removed with the server."""
    mongod = PrivateMongod(tmp_path / "Data", find_mongod)
    async with mongod.running():
        place = socket_folder(tmp_path / "Data")
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert str(place) == str(place).lower()
        assert all(len(os.fsencode(place / name)) <= MAX_SOCKET_BYTES for name in SOCKETS)
    assert not place.exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'error while loading shared libraries: libcurl.so.4: no such file'; exit 127",
            "install that library",
        ),
        ("echo 'cannot lock'; exit 100", "cannot lock"),
        ("kill -ILL $$", "AVX"),
    ],
)
async def test_a_failed_start_reports_the_reason(tmp_path: Path, script: str, said: str) -> None:
    """The error has the server's last output and the remedy."""
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(StoreUnavailableError, match=said):
        async with PrivateMongod(tmp_path / "data", lambda: program).running():
            pass


async def test_waits_for_free_disk_space(tmp_path: Path) -> None:
    """On a full disk no server is started, and the reason is logged once; with free space it starts."""
    with small_disk(tmp_path / "data", 400) as disk:
        mongod = PrivateMongod(disk / "mongod", find_mongod)
        with capture_logs() as lines:
            async with mongod.running() as url:
                assert await count_after_insert(url) == 1
                ballast = fill(disk)
                assert mongod.pid
                os.kill(mongod.pid, signal.SIGKILL)
                await until(lambda: "lacks disk space" in mongod.fault)
                await asyncio.sleep(2 * DISK_CHECK_SECONDS)
                assert mongod.pid is None
                ballast.unlink()
                await until(lambda: not mongod.fault)
                assert await count_after_insert(url) == 2
            events = [line["event"] for line in lines if line["log_level"] in ("warning", "error")]
            fill(disk)
            with pytest.raises(StoreUnavailableError, match="lacks disk space"):
                async with PrivateMongod(disk / "mongod", find_mongod).running():
                    pass
    assert events == [
        "the private mongod ended and is restarted",
        "the private mongod could not be restarted",
    ]


async def test_waits_for_a_missing_folder(tmp_path: Path) -> None:
    """While the disk is missing, `fault` has the reason; afterwards the server starts again."""
    mongod = PrivateMongod(tmp_path / "data", find_mongod)
    async with mongod.running() as url:
        assert await count_after_insert(url) == 1
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        assert mongod.pid
        os.kill(mongod.pid, signal.SIGKILL)
        await until(lambda: "cannot be used: No such file" in mongod.fault)
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        await until(lambda: not mongod.fault)
        assert await count_after_insert(url) == 2


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a look from outside
            await asyncio.sleep(0.05)


async def test_names_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """A file at the path of the data folder is an error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match=r"store\.data_dir"):
        async with PrivateMongod(tmp_path / "file" / "mongod", find_mongod).running():
            pass
