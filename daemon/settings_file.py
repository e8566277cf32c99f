"""Reading settings.toml: from a file's text to settings, or one line for each fault."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cameras.urls import mask_url
from daemon.errors import SettingsError
from daemon.secrets import SecretError, filled_in
from daemon.settings import Settings

DEFAULT_PLACES = (Path("settings.toml"), Path("/etc/facend/settings.toml"))
SECRET_KEYS = ("password", "token", "secret")


def find() -> Path:
    """The settings file when none is named: FACEND_SETTINGS, ./settings.toml, /etc/facend/settings.toml."""
    if named := os.environ.get("FACEND_SETTINGS"):
        return Path(named)
    for place in DEFAULT_PLACES:
        if place.is_file():
            return place
    tried = ", ".join(str(place) for place in DEFAULT_PLACES)
    raise SettingsError([f"no settings file found (tried {tried}); name one with --settings"])


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in the file. SettingsError has a line for each fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror})"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: this is no TOML: {error}"]) from error
    try:
        filled = filled_in(raw, environment)
    except SecretError as error:
        raise SettingsError([f"{path}: {error}"]) from error
    return validate(filled, source=str(path))


def validate(raw: object, source: str) -> Settings:
    """The settings in a dictionary of the file's shape. SettingsError has a line for each fault."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError([_line(source, fault) for fault in error.errors()]) from None


def masked(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values, secrets as `***`."""
    shown: dict[str, Any] = settings.model_dump(mode="python")
    return {key: _masked(key, value) for key, value in shown.items()}


def _masked(key: str, value: object) -> object:
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return {inner: _masked(inner, deep) for inner, deep in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(key, deep) for deep in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and value and any(secret in key for secret in SECRET_KEYS):
        return "***"  # among a plugin's options, which know no types
    if isinstance(value, str) and (key == "url" or "://" in value):
        return mask_url(value)
    return value


def _line(source: str, fault: ErrorDetails) -> str:
    key = _key(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{source}: {key}: unknown key{_known_keys(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{source}: {key}: missing"
    return f"{source}: {key} = {_shown(fault)}: {_expected(fault)}"


def _key(location: Sequence[str | int]) -> str:
    """`cameras[1].url`: cameras are counted from 1, as a person reading the file counts them."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _shown(fault: ErrorDetails) -> str:
    """The value as it stands in the file, or not at all where it may be a secret."""
    name = str(fault["loc"][-1]) if fault["loc"] else ""
    value = fault["input"]
    if any(secret in name for secret in SECRET_KEYS):
        return "***"
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[…]"
    if isinstance(value, str):
        value = mask_url(value)
    return json.dumps(value, ensure_ascii=False, default=str)[:120]


def _expected(fault: ErrorDetails) -> str:
    text = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return mask_url(text[:1].lower() + text[1:])


def _known_keys(location: Sequence[str | int]) -> str:
    """What a person may have meant: the nearest key of that section, else all of them."""
    model: type[BaseModel] | None = Settings
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
