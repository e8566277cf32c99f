"""What does not let the daemon start: one clear line, and the exit status that says whether to try again."""

import hashlib
import shutil
import socket
from pathlib import Path

import pytest

from tests.daemon_process import daemon, facend, write_settings
from tests.faces import default_models, models_dir


def only_line(text: str) -> str:
    """The one line of an error that is no log entry."""
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, text
    return lines[0]


def test_wrong_settings_end_it_with_status_2_and_a_line_for_each_fault(tmp_path: Path) -> None:
    """A key that does not exist, a value out of range and an unknown scheme are reported together."""
    settings = write_settings(
        tmp_path,
        [{"id": "hall", "url": "gopher://10.0.0.7/main"}],
        pipeline={"detect_sice": 320},
        http={"port": 99999},
    )
    done = facend("run", "--settings", settings)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(str(settings) in line for line in lines)
    assert "pipeline.detect_sice: unknown key; did you mean detect_size?" in done.stderr
    assert "http.port = 99999" in done.stderr
    assert 'cameras[1].url = "gopher://10.0.0.7/main"' in done.stderr


def test_a_port_in_use_ends_it_with_status_1(tmp_path: Path) -> None:
    """The line says which port, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = write_settings(tmp_path, [], http={"port": port})
        done = facend("run", "--settings", settings)
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert f"127.0.0.1 port {port}" in line
    assert "http.port" in line


def test_a_data_folder_that_cannot_be_written_ends_it_with_status_2(tmp_path: Path) -> None:
    """The parent of the folder is a file."""
    (tmp_path / "file").touch()
    settings = write_settings(tmp_path, [], data_dir=str(tmp_path / "file" / "data"))
    done = facend("run", "--settings", settings)
    assert done.returncode == 2
    assert "cannot be written" in only_line(done.stderr)


def test_a_second_daemon_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """Status 1, and the line names the running process, which continues."""
    settings = write_settings(tmp_path, [])
    with daemon(settings) as process:
        process.running()
        done = facend("run", "--settings", settings)
        assert done.returncode == 1
        assert f"process {process.pid}" in only_line(done.stderr)
        assert process.get("/healthz")[0] == 200
        assert process.stop() == 0


def test_a_model_file_with_a_wrong_digest_is_fetched_again(tmp_path: Path) -> None:
    """The damaged file is replaced from another source before anything is loaded."""
    pack = default_models().pack
    models = tmp_path / "models" / pack.name
    shutil.copytree(models_dir() / pack.name, models)
    damaged = models / pack.files[0].name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    settings = write_settings(
        tmp_path,
        [],
        models={"folder": str(models.parent), "sources": [str(models_dir() / pack.name)]},
    )
    with daemon(settings) as process:
        process.running()
        assert process.stop() == 0
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == pack.files[0].sha256


def test_a_model_file_that_nobody_has_ends_it_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the file, its digest and every source that was tried."""
    pack = default_models().pack
    models = tmp_path / "models" / pack.name
    shutil.copytree(models_dir() / pack.name, models)
    damaged = models / pack.files[0].name
    damaged.write_bytes(b"no model")
    nowhere = "http://127.0.0.1:9"
    settings = write_settings(tmp_path, [], models={"folder": str(models.parent)})
    done = facend(
        "run",
        "--settings",
        settings,
        PIP_INDEX_URL=nowhere,
        PIP_NO_INDEX="1",
        PIP_RETRIES="0",
        https_proxy=nowhere,
        HTTPS_PROXY=nowhere,
    )
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert damaged.name in line
    assert pack.files[0].sha256 in line
    for source in pack.files[0].sources:
        assert str(source) in line
