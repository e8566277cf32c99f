"""Settings of the store."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from store.errors import BadValueError, StoreUnavailableError
from store.mongo.client import connect
from store.mongod.program import find_mongod
from store.settings import FacensSettings, PersonsSettings, StoreSettings, site_zone


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://localhost"},
        {"database": "a b"},
        {"unknown": 1},
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    """Values out of range and unknown keys."""
    with pytest.raises(ValidationError):
        StoreSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Europe/Atlantis"},
        {"friend_count": 0},
        {"friend_interval_days": 0},
        {"scope": "house"},
        {"threshold": 1.5},
        {"threshold": "loose"},
    ],
)
def test_invalid_settings_of_persons_are_refused(wrong: dict[str, object]) -> None:
    """Values out of range and invalid combinations."""
    with pytest.raises(ValidationError):
        PersonsSettings.model_validate(wrong)


def test_few_faces_are_not_searched_approximately() -> None:
    with pytest.raises(ValidationError, match="at least 10000"):
        FacensSettings(approximate_from=100)


def test_the_password_of_the_database_is_masked() -> None:
    """In the settings' repr and JSON."""
    settings = StoreSettings.model_validate({"url": "mongodb://me:geheim@db.local:27017/?replicaSet=a"})
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mongodb://me:geheim@127.0.0.1:1/?replicaSet=a", r"MongoDB at mongodb://\*\*\*@127.0.0.1:1/ did"),
        ("mongodb://me:ge@heim@127.0.0.1:1/", "not a MongoDB URL"),
        ("mongodb://me:gehe:im@:x:", "not a MongoDB URL"),
        ("mongodb://me:geheim@127.0.0.1:1/?tls=true&tlsCAFile=/geheim", r"MongoDB at .*\*\*\*@127.0.0.1:1/ "),
    ],
)
async def test_no_connection_error_contains_a_password(url: str, message: str) -> None:
    """Neither its text nor its causes; the hosts are shown."""
    settings = StoreSettings(connect_timeout_seconds=0.1, server_selection_timeout_seconds=0.1)
    with pytest.raises((BadValueError, StoreUnavailableError), match=message) as caught:
        async with connect(url, settings):
            pass
    assert "ge" + "he" not in str(caught.value) and "heim" not in str(caught.value)


def test_the_site_has_a_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given by name, else from the environment, where a POSIX rule is ignored."""
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert moment.astimezone(PersonsSettings(time_zone="Asia/Tokyo").zone).hour == 21
    monkeypatch.setenv("TZ", "America/New_York")
    assert moment.astimezone(site_zone()).hour == 8
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert site_zone().key


def test_person_galleries_follow_the_scope() -> None:
    """One gallery per camera, or one for all."""
    assert PersonsSettings().person_gallery("door") == "persons"
    assert PersonsSettings(scope="camera").person_gallery("door") == "cam_door"


def test_a_configured_mongod_that_cannot_run_is_named(tmp_path: Path) -> None:
    """The error names the path in the settings."""
    program = tmp_path / "mongod"
    program.write_text("no program")
    with pytest.raises(StoreUnavailableError, match=r"store\.mongod"):
        find_mongod(program)
    program.chmod(0o755)
    assert find_mongod(program) == program


def test_a_missing_mongod_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the platform, the package and the setting."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("store.mongod.program._in_wheel", lambda: None)
    with pytest.raises(StoreUnavailableError, match=r"no mongod for .* store\.url"):
        find_mongod()
