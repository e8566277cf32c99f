"""Every setting has bounds: what would fail later is refused before anything starts, in a line of its own."""

import math
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from cameras.settings import CameraSettings
from daemon.config.settings import Settings
from daemon.config.validation import validate
from daemon.errors import SettingsError


def numbers(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any, list[Any]]]:
    """Each numeric setting: its path, its type, and what is said about it."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += numbers(kind, (*path, name))
        elif kind in (int, float):
            found.append(((*path, name), kind, list(field.metadata)))
        elif get_origin(kind) in (Union, UnionType, Annotated):
            for part in get_args(kind):
                if get_origin(part) is Annotated and get_args(part)[0] in (int, float):
                    said = [one for note in get_args(part)[1:] for one in getattr(note, "metadata", [note])]
                    found.append(((*path, name), get_args(part)[0], said))
    return found


ALL = [
    *numbers(Settings),
    *((("cameras", *path), kind, said) for path, kind, said in numbers(CameraSettings)),
]


def problems(path: tuple[str, ...], value: object) -> list[str]:
    inner: object = value
    for name in reversed(path):
        inner = {name: inner}
    if path[0] == "cameras":
        assert isinstance(inner, dict)
        inner = {"cameras": [{"id": "door", "url": "rtsp://h/", **inner["cameras"]}]}
    try:
        validate(inner, "settings.toml", Path("/"))
    except SettingsError as error:
        return error.problems
    return []


def test_every_number_has_a_lower_and_an_upper_bound() -> None:
    """A number without one is a duration, a size or a count that something fails at later."""
    for path, _, said in ALL:
        assert any(isinstance(one, (Ge, Gt)) for one in said), f"{path} has no lower bound"
        assert any(isinstance(one, (Le, Lt)) for one in said), f"{path} has no upper bound"
    assert len(ALL) > 40


@pytest.mark.parametrize("path", [path for path, _, _ in ALL], ids=".".join)
@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300, -(2**64)])
def test_no_number_is_taken_beyond_its_bounds(path: tuple[str, ...], value: float) -> None:
    """The line names file and key."""
    (line,) = problems(path, value)
    assert line.startswith("settings.toml: ") and path[-1] in line


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("uploads", "url"), "http://[127.0.0.1]/"),
        (("uploads", "url"), "http://[::1/"),
        (("uploads", "url"), "http:///x"),
        (("uploads", "base_url"), "https://a..b/"),
        (("uploads", "base_url"), "https://h:99999/"),
        (("uploads", "url"), "http://h/a b"),
        (("store", "url"), "mongodb://"),
        (("store", "url"), "mongodb://h:port/"),
        (("store", "url"), "mongodb://me:pa@ss@h/"),
        (("store", "url"), "mongodb://h/?readPreference=nonsense"),
        (("store", "url"), "mongodb+srv://h:27017/"),
        (("store", "url"), "mongodb+srv://[::1]x/"),
        (("facens", "url"), "milvus://"),
        (("facens", "url"), "milvus://[127.0.0.1]:19530"),
        (("facens", "url"), "http://h:x"),
        (("cameras", "url"), "rtsp://[127.0.0.1]:554/x"),
        (("cameras", "url"), "rtsp://[192.0.2.1/x"),
        (("cameras", "url"), "rtsp://h:0/"),
        (("cameras", "url"), "http://a..b/"),
        (("cameras", "url"), "rtsp://h/" + "x" * 5000),
        (("cameras", "meta"), {"a": math.nan}),
        (("cameras", "meta"), {"a": 10**30}),
        (("cameras", "roi"), [[0, 0, math.inf, 1]]),
        (("cameras", "name"), "x" * 300),
        (("http", "host"), "a b"),
        (("http", "host"), "x" * 70),
        (("http", "host"), "127.0.0.300"),
        (("jobs", "retention_at"), "0\u0663:30"),
        (("plugins", "options"), {"door": {"x": math.inf}}),
        (("plugins", "options"), {"door": {"x": [16**5000]}}),
    ],
)
def test_values_that_cannot_work_are_refused_at_the_check(path: tuple[str, ...], value: object) -> None:
    """No later than `facend check`, and without a password in the line."""
    found = problems(path, value)
    assert len(found) == 1, found
    assert path[-1] in found[0] and "pa@ss" not in found[0]
