"""Reads settings.toml, and reports one line per error."""

import contextlib
import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cameras.settings import CameraSettings
from daemon.config.secrets import Key, SecretFault, resolve_references
from daemon.config.settings import Settings
from daemon.errors import SettingsError
from pipeline.base.redaction import KNOWN, redact, redact_options, redact_text
from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import HIDDEN, UrlError, mask_url, split_url

DEFAULT_PLACES = (Path("settings.toml"), Path("/etc/facend/settings.toml"))
HTTP_SECTION = re.compile(r"^\[http\].*\n(?:(?!\s*\[).*\n?)*", re.MULTILINE)


def find() -> Path:
    """The settings file when none is named: FACEND_SETTINGS, ./settings.toml, /etc/facend/settings.toml."""
    if named := os.environ.get("FACEND_SETTINGS"):
        return Path(named)
    for place in DEFAULT_PLACES:
        with contextlib.suppress(PermissionError):  # such a folder has no settings for this user
            if place.is_file():
                return place
    tried = ", ".join(str(place) for place in DEFAULT_PLACES)
    raise SettingsError([f"no settings file found (tried {tried}); name one with --settings"])


def load(path: Path, environment: Mapping[str, str] = os.environ, *, service: bool = False) -> Settings:
    """The settings in the file.

    systemd passes credentials only to the service: in commands, references of cameras to them are empty.

    Raises:
        SettingsError: with a line for each error.
    """
    return _load(path, environment, service=service)[0]


def effective(path: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings in the file with their defaults, as plain values, secrets as `***`.

    Raises:
        SettingsError: as `load`.
    """
    settings, hidden = _load(path, environment, service=False)
    return masked(settings, hidden)


def _load(path: Path, environment: Mapping[str, str], *, service: bool) -> tuple[Settings, dict[Key, str]]:
    """The settings, and the texts to show in place of those with references to secrets."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror})"]) from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or a number of thousands of digits
        raise SettingsError([f"{path}: this is no TOML: {error}"]) from error
    except RecursionError:
        raise SettingsError([f"{path}: this is no TOML that can be read: it is nested too deeply"]) from None
    faults: list[SecretFault] = []
    hidden: dict[Key, str] = {}
    filled = resolve_references(raw, environment, faults, hidden)
    if not service:
        faults = [fault for fault in faults if not (fault.not_passed and fault.key[:1] == ("cameras",))]
    if faults:
        # In the service, the unit lacks the credential; the advice is for commands.
        advice = "" if service else "; commands need it, too: put it into a file, ${file:/path}"
        raise SettingsError(
            [f"{path}: {_key(it.key)} = {it.text}{advice if it.not_passed else ''}" for it in faults]
        )
    return validate(filled, source=str(path), folder=path.parent, hidden=hidden), hidden


def http_alone(path: Path, environment: Mapping[str, str] = os.environ) -> Settings | None:
    """The section [http] of a file with errors elsewhere, with defaults for all other settings.

    None if that section is faulty too.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            section = tomllib.loads(text).get("http", {})
        except (ValueError, RecursionError):
            found = HTTP_SECTION.search(text)
            section = tomllib.loads(found[0] if found else "").get("http", {})
        faults: list[SecretFault] = []
        settings = validate({"http": resolve_references(section, environment, faults)}, source=str(path))
    except (
        OSError,
        ValueError,
        RecursionError,
        SettingsError,
    ):  # the whole file's fault is what will be told
        return None
    return None if faults else settings


def validate(
    raw: object, source: str, folder: Path = Path(), hidden: Mapping[Key, str] | None = None
) -> Settings:
    """Validate the content of a settings file; relative paths are relative to `folder`.

    `hidden` has texts to show in place of the values of its keys.

    Raises:
        SettingsError: with a line for each error.
    """
    _remember(raw)
    if problems := [f"{source}: {_key(key)}: expected {expected}" for key, expected in _impossible(raw)]:
        raise SettingsError(problems)
    try:
        return Settings.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        raise SettingsError(_lines(source, error.errors(), raw, hidden=hidden)) from None


def validate_camera(raw: Mapping[str, Any], source: str) -> CameraSettings:
    """Validate one camera's settings.

    Raises:
        SettingsError: with a line for each error.
    """
    _remember(raw)
    if problems := [f"{source}: {_key(key)}: expected {expected}" for key, expected in _impossible(raw)]:
        raise SettingsError(problems)
    try:
        return CameraSettings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(_lines(source, error.errors(), raw, CameraSettings)) from None


def _remember(value: object, *, secret: bool = False) -> None:
    """Register all secrets of the settings for redaction, also those of refused settings."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _remember(inner, secret=secret or is_secret_name(str(name)))
    elif isinstance(value, list | tuple):
        for inner in value:
            _remember(inner, secret=secret)
    elif isinstance(value, str):
        if secret:
            KNOWN.add(value)
        with contextlib.suppress(UrlError):
            KNOWN.add(split_url(value).password or "")


def masked(settings: Settings, hidden: Mapping[Key, str] | None = None) -> dict[str, Any]:
    """The effective settings as plain values, secrets as `***`; `hidden` has texts to show for its keys."""
    shown: dict[str, Any] = settings.model_dump(mode="python")
    return {name: _masked((name,), value, hidden or {}) for name, value in shown.items()}


def _masked(key: Key, value: object, hidden: Mapping[Key, str]) -> object:
    if key in hidden:
        return mask_url(hidden[key])
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if key == ("plugins", "options"):
        return redact_options(_replaced(value, hidden, key))
    if isinstance(value, Mapping):
        return {inner: _masked((*key, inner), deep, hidden) for inner, deep in value.items()}
    if isinstance(value, list | tuple):
        return [_masked((*key, place), deep, hidden) for place, deep in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    name = _name_of_secret(key)
    return mask_url(value) if isinstance(value, str) and key[-1] == "url" else redact(value, name)


def _replaced(value: object, hidden: Mapping[Key, str], key: Key) -> object:
    """The value with the texts of `hidden` for keys below it."""
    if isinstance(value, Mapping):
        return {name: _replaced(inner, hidden, (*key, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, hidden, (*key, place)) for place, inner in enumerate(value)]
    return hidden.get(key, value)


def _name_of_secret(key: Key) -> str:
    """The part of the key that names a secret, else its last name: all keys below `tokens` are secret."""
    names = [part for part in key if isinstance(part, str)]
    return next((name for name in names if is_secret_name(name)), names[-1] if names else "")


def _impossible(value: object, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Values that no setting may have, plugins' options included: key and what is expected instead."""
    if isinstance(value, str) and "\0" in value:
        yield key, "no character NUL (\\u0000)"
    elif isinstance(value, float) and not math.isfinite(value):
        yield key, "a finite number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield key, "a whole number from −2^63 to 2^63 − 1"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _impossible(name, (*key, str(name)))
            yield from _impossible(inner, (*key, str(name)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _impossible(inner, (*key, place))


def _lines(
    source: str,
    faults: Sequence[ErrorDetails],
    raw: object,
    whole: type[BaseModel] = Settings,
    hidden: Mapping[Key, str] | None = None,
) -> list[str]:
    """One line per key; pydantic reports a value of a union once for each member."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for fault in faults:
        fault["loc"] = _of_the_file(fault, raw)
        by_key.setdefault(_key(fault["loc"]), []).append(fault)
    return [
        redact_text(f"{source}: {key}{_what_is_wrong(same, whole, hidden or {})}", pairs=False)
        for key, same in by_key.items()
    ]


def _what_is_wrong(faults: Sequence[ErrorDetails], whole: type[BaseModel], hidden: Mapping[Key, str]) -> str:
    first = faults[0]
    if first["type"] == "extra_forbidden":
        return f": unknown key{_known_keys(first['loc'], whole)}"
    if first["type"] == "missing":
        return ": missing"
    expected = dict.fromkeys(_expected(fault) for fault in faults)
    return f" = {_shown(first, hidden)}: {', or '.join(expected)}"


def _of_the_file(fault: ErrorDetails, raw: object) -> Key:
    """The location without pydantic's names of union members, such as `literal['strict','medium','low']`."""
    location = []
    value: Any = raw
    for part in fault["loc"]:
        if part in _places(value):
            value = value[part]
        elif fault["type"] != "missing":
            continue
        location.append(part)
    return tuple(location)


def _places(value: object) -> Collection[object]:
    """The possible next parts of a location."""
    if isinstance(value, Mapping):
        return value.keys()
    return range(len(value)) if isinstance(value, list | tuple) else ()


def _key(location: Sequence[str | int]) -> str:
    """The key as text, such as `cameras[1].url`; cameras are counted from 1."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{part:.80}"
    return text or "the file"


def _shown(fault: ErrorDetails, hidden: Mapping[Key, str]) -> str:
    """The value as in the file, masked if it may be a secret."""
    key, value = fault["loc"], fault["input"]
    if key in hidden:
        return json.dumps(mask_url(hidden[key]), ensure_ascii=False)
    if is_secret_name(_name_of_secret(key)):
        return HIDDEN
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[…]"
    if isinstance(value, str):
        value = mask_url(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:120]
    except ValueError:
        return "a number of thousands of digits"


def _expected(fault: ErrorDetails) -> str:
    text = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return mask_url(text[:1].lower() + text[1:])


def _known_keys(location: Sequence[str | int], whole: type[BaseModel]) -> str:
    """Suggests the most similar key of that section, else lists all."""
    model: type[BaseModel] | None = whole
    for part in location[:-1]:
        if isinstance(part, str) and model is not None:
            model = _model_of(model.model_fields[part].annotation) if part in model.model_fields else None
    if model is None:
        return ""
    known = sorted(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _model_of(annotation: object) -> type[BaseModel] | None:
    """The settings model in an annotation such as `tuple[CameraSettings, ...]`."""
    candidates = (annotation, *get_args(annotation))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)
