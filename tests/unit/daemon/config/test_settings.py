"""The settings model, and settings.toml as its description."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from cameras.settings import CameraSettings
from daemon.config import settings_file
from daemon.config.settings import HttpSettings, JobsSettings, Settings
from daemon.events.rules.settings import RuleSettings
from daemon.events.sinks.settings import WebhookSettings
from pipeline.visits.best_shot import Posting
from pipeline.visits.regions import EVERYWHERE

DESCRIBED = Path(__file__).parents[4] / "settings.toml"


def sections():
    """Each section of settings.toml with its keys and values, the # before them taken away."""
    found, name = {"": {}}, ""
    for line in DESCRIBED.read_text().splitlines():
        if section := re.match(r"(?:# )?\[+([\w.]+)\]+$", line):
            name = section[1]
            found.setdefault(name, {})
        elif key := re.match(r"# (\w+ = .*)", line):
            try:
                found[name] |= tomllib.loads(key[1])
            except tomllib.TOMLDecodeError:  # a list that goes on in the next line
                found[name] |= tomllib.loads(re.sub(r"=.*", "= []", key[1]))
    return found


def test_the_described_file_is_valid_as_it_stands():
    """The file as shipped is valid."""
    assert settings_file.load(DESCRIBED) == Settings()


@pytest.mark.parametrize(
    "name", sorted({""} | {key for key, value in Settings() if isinstance(value, BaseModel)})
)
def test_every_key_is_described_with_its_default(name):
    """settings.toml names every key of every section, and the value beside it is the default; keys without
    one (paths that are worked out) show an example."""
    model = getattr(Settings(), name) if name else Settings()
    lists = () if name else ("cameras", "webhooks", "rules")
    plain = {key for key, value in model if not isinstance(value, BaseModel) and key not in lists}
    described = sections()[name]
    assert set(described) == plain
    without_default = {key for key in plain if getattr(model, key) is None}
    given = {key: value for key, value in described.items() if key not in without_default}
    assert type(model).model_validate(given) == model


def test_every_camera_key_is_described():
    """What a camera's section may say is all there, but for what only programs use."""
    internal = {"secret_end"}
    assert set(sections()["cameras"]) == set(CameraSettings.model_fields) - internal


def test_webhook_keys_are_described_with_their_defaults():
    """All keys are there; the required ones show an example."""
    described = sections()["webhooks"]
    assert set(described) == set(WebhookSettings.model_fields)
    required = {"name", "url", "secret"}
    for key in set(described) - required:
        value = WebhookSettings.model_fields[key].default
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        assert described[key] == (list(plain) if isinstance(plain, tuple) else plain), key


def test_camera_keys_are_described_with_their_defaults():
    """The example camera differs from the defaults only in what makes it an example."""
    described = sections()["cameras"]
    example = {"id", "url", "name", "user", "password", "roi", "meta"}
    defaults = CameraSettings.model_validate({"id": "hall", "url": "rtsp://h/"})
    for key in set(described) - example:
        value = getattr(defaults, key)
        assert described[key] == (list(value) if isinstance(value, tuple) else value), key


def test_zero_days_keep_for_ever():
    """0 switches a retention off; other numbers are days."""
    retention = JobsSettings(faces_days=0, pictures_days=7).retention
    assert retention.faces_days is None
    assert retention.pictures_days == 7


def test_the_data_folder_is_absolute(tmp_path, monkeypatch):
    """A daemon that changes its folder still finds its data; ~ is the user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Settings(data_dir="here").data_dir == tmp_path / "here"
    assert Settings(data_dir="~/there").data_dir == Path("/home/somebody/there")


def test_a_cameras_wishes_reach_its_stages():
    """Posting, limits and regions come from the camera, the rest from [pipeline]."""
    settings = Settings.model_validate(
        {
            "pipeline": {"detect_size": 320, "track_timeout_seconds": 3},
            "cameras": [
                {
                    "id": "hall",
                    "url": "rtsp://h/",
                    "posting": "both",
                    "post_interval_seconds": 2,
                    "min_face_px": 55,
                    "min_score": -2,
                    "max_fps": 4,
                    "roi": [[0, 0, 0.5, 1]],
                }
            ],
        }
    )
    stages = settings.pipeline.for_camera(settings.cameras[0])
    assert stages.posting is Posting.BOTH
    assert (stages.post_interval_seconds, stages.min_face_px, stages.min_score, stages.max_fps) == (
        2,
        55,
        -2,
        4,
    )
    assert (stages.detect_size, stages.track_timeout_seconds) == (320, 3)
    assert stages.rot == EVERYWHERE != stages.roi


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "box-1"])  # noqa: S104  the point of this test
def test_a_host_that_others_reach_needs_a_token(host):
    """The port is not opened to a network by accident."""
    with pytest.raises(ValidationError, match=r"set http\.token"):
        HttpSettings(host=host)
    with pytest.raises(ValidationError, match=r"http\.token has 6 characters.*openssl rand") as error:
        HttpSettings(host=host, token=SecretStr("s3cret"))
    assert "s3cret" not in str(error.value)
    assert HttpSettings(host=host, token=SecretStr("s3cret-s3cret-s3")).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    """Who is on the machine may look."""
    assert HttpSettings(host=host).host == host


def test_rule_keys_are_described_with_their_defaults():
    """All keys are there; the name is an example."""
    described = sections()["rules"]
    assert set(described) == set(RuleSettings.model_fields)
    for key in set(described) - {"name"}:
        value = RuleSettings.model_fields[key].default
        assert described[key] == (list(value) if isinstance(value, tuple) else value), key
