"""Secrets that commands are given show neither in the list of processes nor in what is printed."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon_process import FACEND, write_settings

SECRET = "q7 Ew/2r@T9#yU"  # noqa: S105 - looked for in what is shown


def probe(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FACEND, "probe", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["rtsp://127.0.0.1:1/x", "--user", "cam", "--password-stdin"], f"{SECRET}\n"),
        (["-"], "rtsp://cam:q7%20Ew@127.0.0.1:1/x\n"),
        (["rtsp://cam:${env:CAM_PASSWORD}@127.0.0.1:1/x"], ""),
    ],
)
def test_a_password_is_given_outside_the_arguments(arguments: list[str], stdin: str) -> None:
    """By standard input or by reference, without a warning."""
    done = probe(*arguments, stdin=stdin, CAM_PASSWORD="q7Ew2rT9yU")  # noqa: S106 - a test's
    assert done.returncode == 1, done.stderr
    assert "rtsp://***@127.0.0.1:1/x: connection refused" in done.stderr
    assert "shows in" not in done.stderr
    assert "q7" not in done.stdout + done.stderr


def test_an_error_stands_alone() -> None:
    """A password in an argument is hidden, and what is wrong is the one line."""
    done = probe("rtsp://cam:q7Ew2rT9yU@127.0.0.1:1/x")
    (line,) = done.stderr.splitlines()
    assert line.startswith("facend: rtsp://***@127.0.0.1:1/x: connection refused")


def test_a_reference_that_leads_nowhere_is_named() -> None:
    """As in the settings."""
    done = probe("rtsp://cam:${env:NOT_THERE}@127.0.0.1:1/x")
    assert "there is no environment variable NOT_THERE" in done.stderr


def test_a_secret_is_overwritten_in_the_list_of_processes() -> None:
    """Each occurrence; the other arguments stay."""
    code = (
        "import sys; from pathlib import Path; from daemon.cli import secrets;"
        "secrets.argument(sys.argv[1], 'URL'); print(Path('/proc/self/cmdline').read_bytes())"
    )
    url = "rtsp://cam:q7Ew2rT9yU@h/x"
    done = subprocess.run(
        [sys.executable, "-c", code, url, "between", f"--url={url}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "q7Ew2rT9yU" not in done.stdout
    assert f"{'*' * len(url)}\\x00between\\x00--url={'*' * len(url)}" in done.stdout


def test_tokens_and_camera_passwords_stay_out_of_arguments_outputs_and_documents(tmp_path: Path) -> None:
    """Tokens go from file to file; passwords lie in secrets/, mode 0600, and nowhere else."""
    settings = write_settings(tmp_path, [])
    shown = []

    def facend(*arguments: str, stdin: str = "", **environment: str) -> str:
        done = subprocess.run(
            [FACEND, *arguments, "--settings", settings],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout + done.stderr)
        return shown[-1]

    file = tmp_path / "token.txt"
    facend("users", "add", "--token-file", str(file))
    token = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    facend(
        "cameras", "add", "hall", "rtsp://h.example/x", "user=cam", "--password-stdin", stdin=f"{SECRET}\n"
    )
    facend(
        "cameras", "add", "door", "rtsp://h.example/user=a_password=q7Ew2rT9yU_x", "--token-file", str(file)
    )
    facend("cameras", "add", "yard", "-", stdin="rtsp://cam:q7Ew2rT9yU@h.example/x\n", FACEND_TOKEN=token)
    assert "URL in an argument is visible in `ps`" in facend(
        "cameras", "add", "lift", "rtsp://cam:q7Ew2rT9yU@h.example/x"
    )
    assert "password in an argument is visible in `ps`" in facend(
        "cameras", "edit", "lift", "password=q7Ew2rT9yV"
    )
    facend("cameras", "remove", "lift")
    assert "door" in facend("cameras", "list", "--json", "--token-file", str(file))
    facend("users", "disable", "--token-file", str(file))
    assert "in an argument is visible in `ps`" in facend("users", "enable", token)
    for secret in (token, SECRET, "q7Ew2rT9yU", "q7Ew2rT9yV"):
        assert not [text for text in shown if secret in text]
    kept = {path.name: path.read_text() for path in (tmp_path / "data" / "secrets").iterdir()}
    assert kept == {
        "hall": f"{SECRET}\n",
        "yard": "q7Ew2rT9yU\n",
        "door.url": "user=a_password=q7Ew2rT9yU_x\n",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data" / "secrets").iterdir()} == {
        0o600
    }
    holding = [
        path.relative_to(tmp_path)
        for path in tmp_path.rglob("*")
        if path.is_file() and path.parent.name != "secrets" and b"q7Ew2rT9yU" in path.read_bytes()
    ]
    assert holding == []
