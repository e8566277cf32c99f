"""Settings of any content: they are taken, or refused in lines that a person can act on."""

import json
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from cameras.settings import CameraSettings
from daemon.config import settings_file
from daemon.config.masking import masked
from daemon.config.settings import Settings
from daemon.errors import SettingsError
from pipeline.base.redaction import redact_text

DESCRIBED = (Path(__file__).parents[4] / "settings.toml").read_text()
SECRET = "pa55word"  # noqa: S105  looked for in everything that is shown

texts = st.text(max_size=12) | st.sampled_from(
    [
        *("", "\0", "a\nb", "~", "~nobody/x", "/", "../../x", "x" * 5000, "03:30", "all", "::", "::1"),
        *("http://[", "http://h:²/", "https://u@h/", "mongodb://", "milvus://[::1", "Europe"),
        *("rtsp://h/", "rtsp://h:²/", "rtsp:", "file:///%00", "file://h/x", "/dev/video0", "//", "medium"),
        *("${env:NO}", "${env:}", "${file:\0}", "${file:/}", "${file:~nobody}", "${credential:../x}"),
    ]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63, 10**400, float("nan")])
moments = st.sampled_from([date(2026, 3, 1), time(3, 30), datetime(2026, 3, 1, tzinfo=UTC)])
plain = texts | numbers | st.booleans() | moments
values = st.recursive(
    plain,
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(texts, deeper, max_size=3),
    max_leaves=6,
)


SECTIONS: dict[str, type[BaseModel]] = {
    "": Settings,
    "cameras": CameraSettings,
    **{name: type(section) for name, section in Settings() if isinstance(section, BaseModel)},
}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Settings whose sections are there, whose keys are mostly known, and whose values are anything."""
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(sorted(SECTIONS)), min_size=1, max_size=3, unique=True)):
        keys = st.sampled_from(sorted(SECTIONS[name].model_fields)) | texts
        section = draw(st.dictionaries(keys, values, max_size=4))
        if name == "cameras":
            cameras = [{"id": "door", "url": "rtsp://h/", **section}, {"id": "hall", "url": "rtsp://h/"}]
            made[name] = draw(st.just(cameras) | values)
        elif name:
            made[name] = section
        else:
            made |= section
    return made


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return f"0x{value:x}" if value >= 0 else f"{max(value, -(2**100))}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return value.isoformat() if isinstance(value, date | time) else str(value)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "settings.toml"


def shown_for(path: Path, text: str, *, service: bool) -> str:
    """The output for a settings file with this text: the masked settings, or the error lines."""
    path.write_text(text, encoding="utf-8")
    try:
        settings = settings_file.load(path, {}, service=service)
    except SettingsError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.startswith(f"{path}: ")
            assert len(problem.splitlines()) == 1
            assert len(problem) < 1000
        return "\n".join(problem.removeprefix(f"{path}: ") for problem in error.problems)
    return json.dumps(masked(settings), default=str) + repr(settings)


@given(settings=files(), service=st.booleans())
def test_any_value_under_any_key_is_taken_or_refused_by_name(
    path: Path, settings: dict[str, Any], service: bool
) -> None:
    """Any content of any section gives settings, or a line for each error that begins with file and key."""
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in settings.items())
    lines = [redact_text(f"{path}: {key:.80}:", pairs=False) for key in settings]
    keys = tuple(line.removeprefix(f"{path}: ").removesuffix(":") for line in SettingsError(lines).problems)
    shown = shown_for(path, text, service=service)
    assert shown.startswith("{") or all(line.startswith(keys) for line in shown.splitlines())


@given(
    text=st.text(max_size=60)
    | st.tuples(st.integers(0, len(DESCRIBED)), st.text(max_size=5), st.integers(0, 40)).map(
        lambda change: DESCRIBED[: change[0]] + change[1] + DESCRIBED[change[0] + change[2] :]
    )
)
@example("a = " + "[" * 5000)
@example("a = " + "9" * 5000)
@example("http.port = 0x" + "f" * 5000)
def test_any_text_is_read_or_refused_in_a_line(path: Path, text: str) -> None:
    """A file that was damaged or is none of ours, too."""
    shown_for(path, text, service=False)


@given(
    section=st.sampled_from(sorted(SECTIONS)),
    key=texts,
    value=plain,
    cut=st.integers(1, 7),
    slashes=st.integers(0, 2),
)
def test_no_password_is_shown_whatever_else_is_wrong(
    path: Path, section: str, key: str, value: object, cut: int, slashes: int
) -> None:
    """Neither in what is refused nor in what is in effect; also where a URL lacks some of its beginning."""
    camera = {"id": "yard", "url": f"{'rtsp://'[:cut]}cam:{SECRET}@host/live"}
    beside = {
        "id": "hall",
        "url": f"http:{'/' * slashes}host/video?pwd={SECRET}",
        "user": "cam",
        "password": SECRET,
    }
    settings = {
        section: {key: value},
        "store": {"url": f"mongodb:{'/' * slashes}cam:{SECRET}@host", "token": [SECRET]},
        "cameras": [camera, beside],
    }
    text = "\n".join(f"{toml(name)} = {toml(inner)}" for name, inner in settings.items())
    assert SECRET not in shown_for(path, text, service=False)
