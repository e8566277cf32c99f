"""Validates settings, and describes each error in one line: file, key, value, what was expected."""

import contextlib
import difflib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cameras.settings import CameraSettings
from daemon.config.masking import name_of_secret
from daemon.config.secret_references import Key
from daemon.config.settings import Settings
from daemon.errors import SettingsError
from pipeline.base.redaction import KNOWN, redact_text
from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import HIDDEN, UrlError, mask_url, split_url

M = TypeVar("M", bound=BaseModel)

EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "text",
    "tuple_type": "a list",
}
"""By pydantic's error type: the expected value, for the error message."""


def validate(
    raw: object, source: str, folder: Path = Path(), hidden: Mapping[Key, str] | None = None
) -> Settings:
    """Validate the content of a settings file; relative paths are relative to `folder`.

    `hidden`: by key, the text to show in place of a value with references to secrets.

    Raises:
        SettingsError: with a line for each error.
    """
    _remember(raw)
    if problems := [f"{source}: {key_text(key)}: expected {expected}" for key, expected in _impossible(raw)]:
        raise SettingsError(problems)
    try:
        return Settings.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        raise SettingsError(_error_lines(source, error.errors(), raw, hidden=hidden)) from None


def validate_camera(raw: Mapping[str, Any], source: str) -> CameraSettings:
    """Validate one camera's settings. Raises SettingsError as `validate_part`."""
    return validate_part(CameraSettings, raw, source)


def validate_part(model: type[M], raw: Mapping[str, Any], source: str) -> M:
    """Validate settings that are not those of the whole file, such as one camera's.

    Raises:
        SettingsError: with a line for each error.
    """
    _remember(raw)
    if problems := [f"{source}: {key_text(key)}: expected {expected}" for key, expected in _impossible(raw)]:
        raise SettingsError(problems)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(_error_lines(source, error.errors(), raw, model)) from None


def key_text(location: Sequence[str | int]) -> str:
    """The key as text, such as `cameras[1].url`; cameras are counted from 1."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{part:.80}"
    return text or "the file"


def _remember(value: object, *, secret: bool = False) -> None:
    """Register all secrets in the settings for redaction, even if the settings are invalid."""
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


def _impossible(value: object, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Values that no setting may have, including options of plugins; yields the key and the expected
    value."""
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


def _error_lines(
    source: str,
    faults: Sequence[ErrorDetails],
    raw: object,
    whole: type[BaseModel] = Settings,
    hidden: Mapping[Key, str] | None = None,
) -> list[str]:
    """One line per key; pydantic reports a value of a union once for each member."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for fault in faults:
        fault["loc"] = _location_in_file(fault, raw)
        by_key.setdefault(key_text(fault["loc"]), []).append(fault)
    return [
        redact_text(f"{source}: {key}{_problem(same, whole, hidden or {})}", pairs=False)
        for key, same in by_key.items()
    ]


def _problem(faults: Sequence[ErrorDetails], whole: type[BaseModel], hidden: Mapping[Key, str]) -> str:
    first = faults[0]
    if first["type"] == "extra_forbidden":
        return f": unknown key{_known_keys(first['loc'], whole)}"
    if first["type"] == "missing":
        return ": missing"
    expected, *others = dict.fromkeys(_expected(fault, whole) for fault in faults)
    alternatives = "".join(f", or {other.removeprefix('expected ')}" for other in others)
    return f" = {_shown(first, hidden)}: {expected}{alternatives}"


def _location_in_file(fault: ErrorDetails, raw: object) -> Key:
    """The location without the names that pydantic adds for members of a union, such as
    `literal['strict']`."""
    location = []
    value: Any = raw
    for part in fault["loc"]:
        if part in _next_parts(value):
            value = value[part]
        elif fault["type"] != "missing":
            continue
        location.append(part)
    return tuple(location)


def _next_parts(value: object) -> Collection[object]:
    """The possible next parts of a location."""
    if isinstance(value, Mapping):
        return value.keys()
    return range(len(value)) if isinstance(value, list | tuple) else ()


def _shown(fault: ErrorDetails, hidden: Mapping[Key, str]) -> str:
    """The value as in the file, masked if it may be a secret."""
    key, value = fault["loc"], fault["input"]
    if key in hidden:
        return json.dumps(mask_url(hidden[key]), ensure_ascii=False)
    if is_secret_name(name_of_secret(key)):
        return HIDDEN
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[…]"
    if isinstance(value, str):
        value = _without_query(mask_url(value))
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:120]
    except ValueError:
        return "a number of thousands of digits"


def _without_query(text: str) -> str:
    """The text; of a URL without query and fragment, whose parameters may be secrets of any name."""
    return re.sub(r"(?<=[?#]).+", HIDDEN, text, count=1, flags=re.DOTALL) if "://" in text else text


def _expected(fault: ErrorDetails, whole: type[BaseModel]) -> str:
    """What is expected instead of a value."""
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "string_pattern_mismatch":
        field = _field(fault["loc"], whole)
        described = field.description if field else None
        return f"expected {described or 'text that matches ' + limits['pattern']}"
    if text := EXPECTED.get(kind):
        return f"expected {text.format(**limits)}"
    text = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return mask_url(text[:1].lower() + text[1:])


def _known_keys(location: Key, whole: type[BaseModel]) -> str:
    """Suggests the most similar key of that section, else lists all."""
    model = _model(location[:-1], whole)
    if model is None:
        return ""
    known = sorted(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _field(location: Key, whole: type[BaseModel]) -> FieldInfo | None:
    """The field at a location, or the field of the list that contains it."""
    names = [part for part in location if isinstance(part, str)]
    model = _model(names[:-1], whole)
    return model.model_fields.get(names[-1]) if model and names else None


def _model(location: Iterable[str | int], whole: type[BaseModel]) -> type[BaseModel] | None:
    """The settings model of a section."""
    model: type[BaseModel] | None = whole
    for part in location:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The settings model in an annotation such as `tuple[CameraSettings, ...]`."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
