"""`facend accounts` and `facend tokens` on a real store."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli.main import facend
from daemon.errors import StartError
from tests.daemon_process import write_settings
from tests.mongo import StoreArguments

PASSWORD = "correct horse battery"  # noqa: S105  of accounts in a test


@pytest.fixture
def settings(store_settings: StoreArguments, tmp_path: Path) -> Path:
    """Settings on a database of this test's own."""
    store = {
        "url": store_settings.settings.url.get_secret_value(),
        "database": store_settings.settings.database,
        "token": "this box's token",
    }
    return write_settings(tmp_path, [], store=store)


def run(settings: Path, *words: str, typed: str = "", status: int = 0) -> str:
    """What the command prints, or its error where it fails."""
    done = CliRunner().invoke(facend, [*words, "--settings", str(settings)], input=typed)
    if isinstance(done.exception, StartError):
        assert status == 1
        return str(done.exception)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def test_accounts_and_tokens_are_managed(settings: Path, tmp_path: Path) -> None:
    """Added, listed without secrets, removed; errors name what is wrong; the last administrator stays."""
    typed = f"{PASSWORD}\n"
    run(settings, "accounts", "add", "anna", "--role", "admin", typed=typed)
    run(settings, "accounts", "add", "vera", "--role", "viewer", "--camera", "door", typed=typed)
    assert "there is a user anna" in run(
        settings, "accounts", "add", "anna", "--role", "admin", typed=typed, status=1
    )
    assert "10 to 1024 characters" in run(
        settings, "accounts", "add", "eve", "--role", "admin", typed="short\n", status=1
    )
    listed = json.loads(run(settings, "accounts", "list", "--json"))
    assert [(one["name"], one["role"], one["cameras"]) for one in listed] == [
        ("anna", "admin", None),
        ("vera", "viewer", ["door"]),
    ]
    assert "last active administrator" in run(settings, "accounts", "remove", "anna", "--yes", status=1)
    file = tmp_path / "token"
    run(settings, "tokens", "add", "ci", "--role", "viewer", "--token-file", str(file))
    token = file.read_text().strip()
    assert token.startswith("fct_") and file.stat().st_mode & 0o777 == 0o600
    table = run(settings, "tokens", "list")
    assert "ci" in table and token not in table
    run(settings, "tokens", "revoke", "ci")
    assert "there is no token 'ci'" in run(settings, "tokens", "revoke", "ci", status=1)
