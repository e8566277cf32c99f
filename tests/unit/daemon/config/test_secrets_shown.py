"""No secret of the settings leaves the process: in `facend check`, in errors, in logs, in `/status`."""

import json
import random
import string
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog

from daemon.config import settings_file
from daemon.errors import SettingsError
from daemon.runtime import logs
from pipeline.base.redaction import redact

PLACES = """
[store]
url = {store}
token = {secret}
[uploads]
url = "http://pictures.example/"
user = "u"
password = {secret}
[http]
token = {secret}
[plugins.options.door]
anything = "${{env:SECRET}}"
url = "https://${{env:SECRET}}.example/"
api_key = {secret}
tokens = [{secret}, {{ deep = {secret} }}]
headers = {{ Authorization = {secret} }}
[[cameras]]
id = "hall"
name = "the ${{env:SECRET}} hall"
url = {camera}
meta = {{ pin = {secret}, floor = "2" }}
[[cameras]]
id = "door"
url = "rtsp://door.example/user=admin_password=${{env:SECRET}}_channel=1.sdp"
"""

WRONG = [
    "",
    "",
    'colour = "red"',
    'detector = ["${{env:SECRET}}"]',
    'log_level = "${{env:SECRET}}"',
    "spool = {{ max_bytes = {secret} }}",
]


def secrets() -> list[str]:
    """200 of every printable character, each with a letter at both ends, so that none is trimmed."""
    chance = random.Random(18)  # noqa: S311 - to be repeated
    characters = string.ascii_letters + string.digits + string.punctuation + " "
    return [f"q{''.join(chance.choices(characters, k=chance.randint(14, 30)))}z" for _ in range(200)]


@pytest.mark.usefixtures("restored_logging")
def test_none_of_200_random_secrets_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As they are and percent-encoded, from the file and the environment, in good settings and in bad."""
    path = tmp_path / "settings.toml"
    shown = []
    logs.configure("json", "info")
    log = structlog.get_logger("x")
    for number, secret in enumerate(secrets()):
        toml = json.dumps(secret)
        text = WRONG[number % len(WRONG)].format(secret=toml) + PLACES.format(
            secret=toml,
            store=json.dumps(f"mongodb://u:{quote(secret, safe='')}@db.example/"),
            camera=json.dumps(f"rtsp://u:{quote(secret, safe='')}@hall.example/live"),
        )
        path.write_text(text, encoding="utf-8")
        try:
            effective = settings_file.effective(path, {"SECRET": secret})
        except SettingsError as error:
            told = str(error)
            log.error("the settings are refused", problems=error.problems)
        else:
            told = json.dumps(effective, default=str)
            assert effective["cameras"][0]["meta"] == {"pin": "***", "floor": "2"}
            assert "hall.example/live" in told
            assert "mongodb" not in told
        log.warning("a library says", error=OSError(f"auth failed with {secret}"), where=[quote(secret)])
        status = json.dumps(redact({"cameras": [{"detail": f"cannot open {secret}"}]}))
        forms = {secret, quote(secret), quote(secret, safe=""), toml[1:-1], repr(secret)[1:-1]}
        shown += [form for form in forms for text in (told, status) if form in text]
        line = capsys.readouterr().err
        shown += [form for form in forms if form in line or form in line.encode().decode("unicode_escape")]
    assert shown == []


def test_an_error_of_toml_shows_no_line_of_the_file(tmp_path: Path) -> None:
    """Where it is goes by line and column."""
    path = tmp_path / "settings.toml"
    for text in ('[http]\ntoken = "hunter2SECRET\n', "token = hunter2SECRET\n", '"hunter2SECRET" = 1\n' * 2):
        path.write_text(text)
        with pytest.raises(SettingsError, match="line") as caught:
            settings_file.load(path)
        assert "hunter2SECRET" not in str(caught.value)


def test_a_value_from_outside_is_hidden_under_any_key(tmp_path: Path) -> None:
    """The origin is known: short values are hidden too, and the text around them is shown."""
    path = tmp_path / "settings.toml"
    path.write_text(
        'detector = "${env:BOX}"\n[plugins.options.x]\nfloor = "${env:BOX}"\n'
        '[[cameras]]\nid = "hall"\nurl = "rtsp://${env:BOX}:${env:BOX}@hall.example/live"\n'
    )
    shown = settings_file.effective(path, {"BOX": "7"})
    assert shown["detector"] == "***"
    assert shown["plugins"]["options"]["x"]["floor"] == "***"
    assert shown["cameras"][0]["url"] == "rtsp://***@hall.example/live"
    path.write_text('log_level = "${env:BOX}"\n')
    with pytest.raises(SettingsError, match=r'log_level = "\*\*\*": expected'):
        settings_file.load(path, {"BOX": "7"})


@pytest.mark.parametrize(
    "text",
    [
        '[uploads]\nbase_url = "https://h.example/?sv=abc9"',
        '[uploads]\nurl = "https://h.example/p?x=abc9#y"',
        '[uploads]\nbase_url = "https://h.example/p#abc9"',
        '[[cameras]]\nid = "door"\nurl = "rtsp://h:99999/x?something=abc9"',
    ],
)
def test_the_query_of_a_refused_url_is_not_shown(tmp_path: Path, text: str) -> None:
    """Any parameter may be a secret; host and path say which URL it is."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        settings_file.load(path)
    assert "abc9" not in str(error.value)
    assert "://h" in str(error.value)
