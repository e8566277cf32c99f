"""From the text of settings.toml to settings, or to one line for each fault."""

import json
from pathlib import Path

import pytest

from daemon.config import settings_file
from daemon.config.masking import masked
from daemon.errors import SettingsError


def problems(tmp_path, text, environment=None):
    """The lines that a file with this text is refused with."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings_file.load(path, environment or {})
    assert caught.value.exit_status == 2
    assert all(problem.startswith(f"{path}: ") and "\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("colour = 1", "colour: unknown key; known here: cameras, data_dir"),
        ("[http]\nprot = 1", "http.prot: unknown key; did you mean port?"),
        ("[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nuser_name = 'x'", "cameras[1].user_name: unknown key"),
        ("[http]\nport = 99999", "http.port = 99999: expected at most 65535"),
        ("[http]\nport = 'many'", 'http.port = "many": expected a whole number'),
        ("http = 3", "http = 3: expected a table"),
        ("log_level = 'loud'", "log_level = \"loud\": expected 'debug', 'info', 'warning' or 'error'"),
        ("[store]\nurl = 'redis://h'", "store.url = "),
        ("[uploads]\nbase_url = 'ftp://h'", 'uploads.base_url = "ftp://h": expected http://'),
        ("[jobs]\nretention_at = '25:00'", 'jobs.retention_at = "25:00": expected a time HH:MM'),
        (
            "[persons]\ntime_zone = 'Mars/Base'",
            'persons.time_zone = "Mars/Base": expected the name of a time zone',
        ),
        (
            "[persons]\nthreshold = 'wild'",
            "persons.threshold = \"wild\": expected 'auto', 'strict', 'medium' or 'low', or",
        ),
        (
            "[[cameras]]\nid = 'a b'\nurl = 'rtsp://h/'",
            'cameras[1].id = "a b": expected 1 to 44 letters, digits',
        ),
        ("[[cameras]]\nid = 'a'", "cameras[1].url: missing"),
        ("[[cameras]]\nid = 'a'\nurl = 'gopher://h/'", 'cameras[1].url = "gopher://h/": '),
        (
            "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nroi = [[0.5, 0, 0.1, 1]]",
            "cameras[1].roi",
        ),
        (
            "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nmeta = {floor = [1]}",
            "cameras[1].meta.floor = […]: expected text, or a whole number, or a number",
        ),
        ("cameras = [", "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML: it is nested too deeply"),
        ("data_dir = '~nobody-of-this-name/data'", 'data_dir = "~nobody-of-this-name/data": expected ~/'),
        ('[http]\nhost = "a\\u0000"', "http.host: expected no character NUL"),
        ('[http]\nhost = "${file:\\u0000}"', "http.host = ${file:\\u0000}: cannot be read"),
        ('"a\\nb" = 1', "a\\nb: unknown key"),
    ],
)
def test_a_fault_is_one_line_with_key_value_and_expectation(tmp_path, text, line):
    """Each error names the key, the value and what was expected."""
    told = problems(tmp_path, text)
    assert told
    assert told[0].startswith(line)


def test_all_faults_are_told_at_once(tmp_path):
    """Three errors are reported in one run."""
    assert len(problems(tmp_path, "a = 1\n[http]\nport = -1\n[jobs]\nfaces_days = -1")) == 3


def test_a_camera_id_that_is_used_twice_is_named(tmp_path):
    """Two cameras with one id could not be distinguished in stored data."""
    camera = "[[cameras]]\nid = '{}'\nurl = 'rtsp://h/'\n"
    told = problems(tmp_path, camera.format("hall") + camera.format("door") + camera.format("hall"))
    assert len(told) == 1
    assert told[0].startswith("cameras = ")
    assert told[0].endswith("used twice: hall")


@pytest.mark.parametrize(
    "text",
    [
        "[[cameras]]\nid = 'a'\nurl = 'rtsp://admin:pa55word@h/'\nport = 1",
        "[[cameras]]\nid = 'a b'\nurl = 'rtsp://admin:pa55word@h/'",
        "[[cameras]]\nid = 'a'\nurl = 'gopher://admin:pa55word@h/'",
        "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\npassword = 'pa55word'",
        "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nuser = 'u'\npassword = ['pa55word']",
        "[store]\nurl = 'redis://admin:pa55word@h'",
        "[store]\nurl = ['mongodb://admin:pa55word@h']",
        "[store]\ntoken = ['pa55word']",
    ],
)
def test_no_refusal_shows_a_secret(tmp_path, text):
    """The faulty value is shown, passwords in it are not."""
    assert "pa55word" not in repr(problems(tmp_path, text))


def test_a_missing_file_is_told_with_its_name(tmp_path):
    """`--settings` with a wrong path: status 2, because only a person can help."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read \(No such file"):
        settings_file.load(tmp_path / "nowhere.toml")


def test_a_broken_secret_reference_is_told_without_its_neighbours(tmp_path):
    """The line names the reference."""
    text = "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nuser = 'u'\npassword = '${env:NO_SUCH}'"
    assert problems(tmp_path, text) == [
        "cameras[1].password = ${env:NO_SUCH}: there is no environment variable NO_SUCH"
    ]


def test_commands_beside_the_service_need_no_credentials_of_cameras(tmp_path):
    """systemd passes them to the service alone; `facend check` and the store's commands work all the same."""
    path = tmp_path / "settings.toml"
    camera = "[[cameras]]\nid = 'a'\nurl = 'rtsp://h/'\nuser = 'u'\npassword = '${credential:door}'\n"
    path.write_text(camera)
    assert len(settings_file.load(path, {}).cameras) == 1
    with pytest.raises(SettingsError, match="passed no credentials"):
        settings_file.load(path, {}, service=True)
    path.write_text(camera + "[store]\ntoken = '${credential:box}'\n")
    with pytest.raises(SettingsError, match=r"store\.token = .*no credentials .*commands need it, too"):
        settings_file.load(path, {})


def test_relative_paths_count_from_the_settings_file(tmp_path):
    """Every command on the same file means the same folders, wherever it is called."""
    path = tmp_path / "settings.toml"
    path.write_text("[uploads]\nfolder = 'pictures'\n[models]\nfolder = '~/models'\n")
    settings = settings_file.load(path, {})
    assert settings.data_dir == tmp_path / "data"
    assert settings.uploads.folder == tmp_path / "pictures"
    assert settings.models.folder == Path("~/models").expanduser()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[http]\nport = 1234\n[[cameras]]\nid = 3\n", ("127.0.0.1", 1234)),
        ("not even TOML\n[http] # here\nhost = '::1'\n# as usual\n\n[jobs]\nport = 99\n", ("::1", 9464)),
        ("[[cameras", ("127.0.0.1", 9464)),
        ("[http]\ntoken = '${file:/nowhere}'\n[[cameras", None),
        ("[http]\nport = 'x'\n", None),
        ("[http]\nport = 1 2\n", None),
        ("http = 3\n", None),
    ],
)
def test_a_file_with_a_fault_still_tells_where_the_daemon_listens(tmp_path, text, address):
    """Where its section [http] has none, even if the rest is not valid TOML."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    settings = settings_file.http_alone(path)
    assert (settings and (settings.http.host, settings.http.port)) == address


def test_a_folder_that_is_closed_to_us_holds_no_settings(tmp_path, monkeypatch):
    """`sudo -u facend facend check` in an administrator's home looks on in the next place."""
    monkeypatch.delenv("FACEND_SETTINGS", raising=False)
    found = tmp_path / "settings.toml"
    found.touch()

    class Closed(type(found)):  # root, who runs tests in CI, may enter any folder
        def is_file(self):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(settings_file, "DEFAULT_PLACES", (Closed("settings.toml"), found))
    assert settings_file.find() == found


def test_the_settings_that_are_shown_hide_every_secret(tmp_path):
    """What `facend check` prints holds passwords and tokens as ***, wherever they came from."""
    path = tmp_path / "settings.toml"
    path.write_text(
        "[store]\nurl = 'mongodb://db:pa55word@h'\ntoken = 'pa55word'\n"
        "[[cameras]]\nid = 'a'\nurl = 'rtsp://admin:pa55word@h/main'\n"
        "[[cameras]]\nid = 'b'\nurl = 'rtsp://h/main'\nuser = 'u'\npassword = '${env:P}'\n"
    )
    shown = json.dumps(masked(settings_file.load(path, {"P": "pa55word"})), default=str)
    assert "pa55word" not in shown
    assert "***" in shown
    assert "rtsp://h/main" in shown


def test_the_named_file_comes_before_the_usual_places(tmp_path, monkeypatch):
    """FACEND_SETTINGS, then ./settings.toml; without either the places that were tried are named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEND_SETTINGS", raising=False)
    monkeypatch.setattr(settings_file, "DEFAULT_PLACES", settings_file.DEFAULT_PLACES[:1])
    with pytest.raises(SettingsError, match=r"tried settings\.toml"):
        settings_file.find()
    (tmp_path / "settings.toml").touch()
    assert settings_file.find().absolute() == tmp_path / "settings.toml"
    monkeypatch.setenv("FACEND_SETTINGS", "/elsewhere.toml")
    assert str(settings_file.find()) == "/elsewhere.toml"
