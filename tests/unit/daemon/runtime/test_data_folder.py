"""The data folder: its permissions, its lock, and errors that name the remedy."""

import fcntl
import os
import stat
import subprocess
import sys
import threading

import pytest

from daemon.errors import SettingsError, StartError
from daemon.runtime import data_folder


def test_only_the_owner_can_access_a_new_folder(tmp_path):
    """Pictures and database are readable by the owner only."""
    data_folder.prepare(tmp_path / "a" / "data")
    assert stat.S_IMODE((tmp_path / "a" / "data").stat().st_mode) == 0o700


def test_a_second_daemon_is_refused_with_the_process_id_of_the_first(tmp_path):
    """The error names the process that holds the lock; after its end the folder is free again."""
    assert not data_folder.is_held(tmp_path)
    with data_folder.held(tmp_path):
        assert data_folder.is_held(tmp_path)
        with pytest.raises(StartError, match=f"process {os.getpid()}"), data_folder.held(tmp_path):
            pytest.fail("held twice")
    assert not data_folder.is_held(tmp_path)


@pytest.mark.parametrize("damage", ["folder", "link to itself"])
def test_a_lock_that_is_not_a_file_is_one_error(tmp_path, damage):
    """Of the daemon, and of commands that check whether a daemon is running."""
    path = tmp_path / "daemon.lock"
    if damage == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(StartError, match=r"daemon\.lock cannot be opened"), data_folder.held(tmp_path):
        pytest.fail("held")
    with pytest.raises(StartError, match=r"daemon\.lock cannot be opened"):
        data_folder.is_held(tmp_path)


def test_a_killed_daemon_releases_the_folder(tmp_path):
    """kill -9 leaves no lock behind."""
    code = (
        "import sys, time; from pathlib import Path; from daemon.runtime import data_folder\n"
        "with data_folder.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert data_folder.is_held(tmp_path)
        holder.kill()
    assert not data_folder.is_held(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_settings(tmp_path):
    """The message names the folder and the reason, and systemd does not try again."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"data_dir .*file/data cannot be written") as caught:
        data_folder.prepare(tmp_path / "file" / "data")
    assert caught.value.exit_status == 2


def test_root_may_not_use_the_folder_of_the_service(tmp_path, monkeypatch):
    """A database started by root would leave files that the service cannot open."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    data_folder.require_own(tmp_path / "not there yet")
    if os.getuid() == 0:
        data_folder.require_own(tmp_path)
        os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StartError, match=r"run this as .*sudo -u"):
        data_folder.require_own(tmp_path)


@pytest.mark.parametrize("name", ["enroll.lock", "mongod/owner.lock", "mongod/db/WiredTiger", "spool"])
def test_a_file_of_another_user_is_named_with_the_remedy(tmp_path, monkeypatch, name):
    """Files of root in the service's folder are one error at the start, with the command that corrects it."""
    foreign = tmp_path / "my data" / name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.touch()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != foreign and access(path, mode))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StartError, match=rf"my data/{name} cannot be .*run sudo chown -R .*'.*my data/"):
        data_folder.prepare(tmp_path / "my data")


def test_a_daemon_starts_while_a_command_checks_the_lock(tmp_path):
    """`facend doctor` holds the lock briefly to check whether it is free."""
    (tmp_path / "daemon.lock").touch()
    with (tmp_path / "daemon.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.15, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with data_folder.held(tmp_path):
            assert data_folder.is_held(tmp_path)
