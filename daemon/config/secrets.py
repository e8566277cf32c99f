"""Secrets that stand outside settings.toml.

Any text in the settings may hold `${env:NAME}` (environment), `${file:/path}` (the
file's first line) or `${credential:NAME}` (systemd's LoadCredential), and nothing
of what they give is ever shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.redaction import KNOWN
from pipeline.base.urls import HIDDEN

REFERENCE = re.compile(r"\$\{(env|file|credential):([^}]*)\}")

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SecretFault:
    """A reference that leads nowhere."""

    key: Key
    """Where it stands in the settings."""
    text: str
    """The reference and what is wrong, never a value."""
    not_passed: bool
    """A credential, and systemd has passed none at all."""


class SecretError(ValueError):
    """A reference that leads nowhere; says which one, never a value."""


class NotPassedError(SecretError):
    """systemd has passed no credentials to this process."""


def filled_in(
    value: object,
    environment: Mapping[str, str],
    faults: list[SecretFault],
    hidden: dict[Key, str] | None = None,
    key: Key = (),
) -> object:
    """The same value with every reference in its texts replaced; `faults` gets those that lead nowhere.

    `hidden` gets each text that holds a reference as it may be shown, with *** for what is behind it.
    """
    if isinstance(value, str):
        if hidden is not None and REFERENCE.search(value):
            hidden[key] = REFERENCE.sub(HIDDEN, value)
        return REFERENCE.sub(lambda match: _replacement(match[1], match[2], environment, faults, key), value)
    if isinstance(value, dict):
        return {
            name: filled_in(inner, environment, faults, hidden, (*key, name)) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            filled_in(inner, environment, faults, hidden, (*key, place)) for place, inner in enumerate(value)
        ]
    return value


def _replacement(
    kind: str, name: str, environment: Mapping[str, str], faults: list[SecretFault], key: Key
) -> str:
    try:
        secret = _value(kind, name, environment)
    except SecretError as error:
        text = f"${{{kind}:{name}}}: {error}"
        faults.append(SecretFault(key, text, isinstance(error, NotPassedError)))
        return ""
    KNOWN.add(secret)
    return secret


def _value(kind: str, name: str, environment: Mapping[str, str]) -> str:
    if kind == "env":
        if name not in environment:
            raise SecretError(f"there is no environment variable {name}")
        return environment[name]
    if kind == "file":
        return _first_line(Path(name))
    return credential(name, environment)


def credential(name: str, environment: Mapping[str, str]) -> str:
    """What systemd passed under this name. SecretError where it did not."""
    if "/" in name or name in ("", ".", ".."):
        raise SecretError("a credential has a plain name")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise NotPassedError("systemd passed no credentials (LoadCredential= in the unit)")
    return _first_line(Path(folder, name))


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, ValueError) as error:  # no text, or a name that no file can have
        raise SecretError(f"cannot be read ({getattr(error, 'strerror', 'not text')})") from error
