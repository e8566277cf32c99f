"""The effective settings for output, without secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from daemon.config.secret_references import Key
from daemon.config.settings import Settings
from pipeline.base.redaction import redact, redact_options
from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import HIDDEN, mask_url


def masked(settings: Settings, hidden: Mapping[Key, str] | None = None) -> dict[str, Any]:
    """The effective settings as plain values, secrets as `***`.

    `hidden`: by key, the text to show in place of a value with references to secrets.
    """
    shown: dict[str, Any] = settings.model_dump(mode="python")
    return {name: _mask((name,), value, hidden or {}) for name, value in shown.items()}


def _mask(key: Key, value: object, hidden: Mapping[Key, str]) -> object:
    if key in hidden:
        return mask_url(hidden[key])
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if key == ("plugins", "options"):
        return redact_options(_replace_hidden(value, hidden, key))
    if isinstance(value, Mapping):
        return {name: _mask((*key, name), inner, hidden) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mask((*key, index), inner, hidden) for index, inner in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    name = name_of_secret(key)
    return mask_url(value) if isinstance(value, str) and key[-1] == "url" else redact(value, name)


def _replace_hidden(value: object, hidden: Mapping[Key, str], key: Key) -> object:
    """Replace values inside `value` by their texts in `hidden`."""
    if isinstance(value, Mapping):
        return {name: _replace_hidden(inner, hidden, (*key, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replace_hidden(inner, hidden, (*key, index)) for index, inner in enumerate(value)]
    return hidden.get(key, value)


def name_of_secret(key: Key) -> str:
    """The first part of the key that is a secret name, else its last name: all keys below `tokens` are
    secret."""
    names = [part for part in key if isinstance(part, str)]
    return next((name for name in names if is_secret_name(name)), names[-1] if names else "")
