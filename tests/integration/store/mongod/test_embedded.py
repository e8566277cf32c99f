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
from store.mongod.process_lock import orphans
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
    """The lines of the kernel's TCP tables that belong to the process."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    tables = [Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    return [line for table in tables for line in table if line.split()[9] in inodes]


async def test_it_keeps_what_it_was_given(tmp_path: Path) -> None:
    """Stopped, moved and started again it has the same documents; nobody else can look in."""
    async with PrivateMongod(tmp_path / "one", find_mongod).running() as url:
        assert await count_after_insert(url) == 1
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o700
    (tmp_path / "one").rename(tmp_path / "two")
    async with PrivateMongod(tmp_path / "two", find_mongod).running() as url:
        assert await count_after_insert(url) == 2


async def test_it_listens_on_a_unix_socket_alone(tmp_path: Path) -> None:
    """No TCP port opens, and the socket is its owner's."""
    mongod = PrivateMongod(tmp_path, find_mongod)
    async with mongod.running():
        assert mongod.pid
        assert tcp_sockets(mongod.pid) == []
        sockets = await asyncio.to_thread(lambda: list(socket_folder(tmp_path).iterdir()))
        assert len(sockets) == 2
        assert all(stat.S_IMODE(socket.lstat().st_mode) & 0o077 == 0 for socket in sockets)


async def test_the_server_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords in our environment do not show in that of a process that has no need of them."""
    monkeypatch.setenv("DOOR_PASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/facend.service")
    mongod = PrivateMongod(tmp_path, find_mongod)
    async with mongod.running():
        environment = await asyncio.to_thread(Path(f"/proc/{mongod.pid}/environ").read_bytes)
    assert b"PATH=" in environment
    assert b"hunter2" not in environment
    assert b"CREDENTIALS_DIRECTORY" not in environment


async def test_transactions_and_change_streams_work(tmp_path: Path) -> None:
    """It is a replica set of one."""
    async with PrivateMongod(tmp_path, find_mongod).running() as url, connect(url, SETTINGS) as database:
        await database.create_collection("things")
        async with database["things"].watch() as changes:
            async with await database.client.start_session() as session, session.start_transaction():
                await database["things"].insert_one({"_id": 1}, session=session)
            assert (await changes.next())["documentKey"] == {"_id": 1}


async def test_it_is_started_again_after_a_crash(tmp_path: Path) -> None:
    """Killed twice, it comes back with everything that was acknowledged, on the same URL."""
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
from store.mongod import embedded
from store.mongod.program import find_mongod
if sys.argv[2] == "orphan":
    embedded.dies_with_parent = lambda: None

async def main():
    mongod = embedded.PrivateMongod(Path(sys.argv[1]), find_mongod)
    async with mongod.running():
        print(mongod.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["taken along", "orphan"])
async def test_a_killed_owner_leaves_nothing_in_the_way(tmp_path: Path, way: str) -> None:
    """After kill -9 of its owner the server ends by itself, or else the next owner ends it and goes on."""
    root = Path(__file__).parents[4]
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED_OWNER, str(tmp_path), way),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(root)},
    )
    output, _ = await owner.communicate()
    pid = int(output.split()[-1])
    if way == "orphan":
        await asyncio.sleep(0.5)
        assert running(pid)
    async with PrivateMongod(tmp_path, find_mongod).running() as url:
        assert not running(pid)
        assert await count_after_insert(url) == 1


async def test_a_second_process_is_a_guest(tmp_path: Path) -> None:
    """It uses the running server, needs no program of its own, and leaves the server running."""

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
    assert orphans("mongod", str(tmp_path / "db")) == []


async def test_a_guest_takes_over_when_the_owner_goes(tmp_path: Path) -> None:
    """Calls after the owner's end work soon again, on the same URL; the last one stops the server."""
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
    assert orphans("mongod", str(tmp_path / "db")) == []


async def test_a_guest_takes_over_from_a_killed_owner(tmp_path: Path) -> None:
    """Kill -9 of the owner ends its server; the guest has another one running soon after."""
    root = Path(__file__).parents[4]
    script = KILLED_OWNER.replace("os.kill(os.getpid(), signal.SIGKILL)", "await asyncio.sleep(60)")
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path), "taken along"),
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
    """Owner and guest reach the server, which has transactions; the guest takes it over at the same URL."""
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


async def test_a_link_and_the_folder_behind_it_are_one(tmp_path: Path) -> None:
    """A guest that comes through a symbolic link meets the owner that came by the folder itself."""
    (tmp_path / "Big Disk").mkdir()
    (tmp_path / "link").symlink_to("Big Disk")
    async with PrivateMongod(tmp_path / "Big Disk" / "mongod", find_mongod).running() as url:
        guest = PrivateMongod(tmp_path / "link" / "mongod", find_mongod)
        async with guest.running() as same:
            assert (same, guest.pid) == (url, None)
            assert await count_after_insert(same) == 1


async def test_the_environment_does_not_part_owner_and_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service and a command meet although they have different TMPDIR and XDG_RUNTIME_DIR."""
    folder = tmp_path / "Data"
    async with PrivateMongod(folder, find_mongod).running() as url:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        async with PrivateMongod(folder, find_mongod).running() as same:
            assert same == url
            assert await count_after_insert(same) == 1


async def test_no_sockets_folder_is_left_behind(tmp_path: Path) -> None:
    """The private folder of the sockets is the user's alone, short and plain, and goes with the server."""
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
async def test_a_server_that_does_not_start_says_why(tmp_path: Path, script: str, said: str) -> None:
    """The program's own last words, and what to do, are in the error."""
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(StoreUnavailableError, match=said):
        async with PrivateMongod(tmp_path / "data", lambda: program).running():
            pass


async def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    """No server is started that could only fail; the reason is logged once. With room it comes back."""
    with small_disk(tmp_path / "data", 400) as disk:
        mongod = PrivateMongod(disk / "mongod", find_mongod)
        with capture_logs() as lines:
            async with mongod.running() as url:
                assert await count_after_insert(url) == 1
                ballast = fill(disk)
                assert mongod.pid
                os.kill(mongod.pid, signal.SIGKILL)
                await until(lambda: "has no room" in mongod.fault)
                await asyncio.sleep(2 * DISK_CHECK_SECONDS)
                assert mongod.pid is None
                ballast.unlink()
                await until(lambda: not mongod.fault)
                assert await count_after_insert(url) == 2
            events = [line["event"] for line in lines if line["log_level"] in ("warning", "error")]
            fill(disk)
            with pytest.raises(StoreUnavailableError, match="has no room"):
                async with PrivateMongod(disk / "mongod", find_mongod).running():
                    pass
    assert events == [
        "the private mongod ended and is started again",
        "the private mongod could not be started again",
    ]


async def test_a_folder_that_is_gone_for_a_while_is_waited_for(tmp_path: Path) -> None:
    """A disk that was taken away and comes back: until then the fault says so."""
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


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the place of the data folder is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match=r"store\.data_dir"):
        async with PrivateMongod(tmp_path / "file" / "mongod", find_mongod).running():
            pass
