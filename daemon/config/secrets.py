"""References in settings.toml to secrets outside of it.

Any text in the settings may contain `${env:NAME}` (environment), `${file:/path}` (first line of the file) or
`${credential:NAME}` (systemd's LoadCredential). Their values are never shown.
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
    """A reference that cannot be resolved."""

    key: Key
    """Its place in the settings."""
    text: str
    """The reference and the reason, never a value."""
    not_passed: bool
    """A credential, while systemd passed no credentials to this process."""


class SecretError(ValueError):
    """A reference that cannot be resolved; the message has the reason, never a value."""


class NotPassedError(SecretError):
    """systemd passed no credentials to this process."""


def resolve_references(
    value: object,
    environment: Mapping[str, str],
    faults: list[SecretFault],
    hidden: dict[Key, str] | None = None,
    key: Key = (),
) -> object:
    """Replace each reference in the texts of a value; `faults` gets those that cannot be resolved.

    `hidden` gets each text that contains a reference, with *** in place of the reference.
    """
    if isinstance(value, str):
        if hidden is not None and REFERENCE.search(value):
            hidden[key] = REFERENCE.sub(HIDDEN, value)
        return REFERENCE.sub(lambda match: _replacement(match[1], match[2], environment, faults, key), value)
    if isinstance(value, dict):
        return {
            name: resolve_references(inner, environment, faults, hidden, (*key, name))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            resolve_references(inner, environment, faults, hidden, (*key, place))
            for place, inner in enumerate(value)
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
    """The credential that systemd passed under this name.

    Raises:
        SecretError: there is none.
    """
    if "/" in name or name in ("", ".", ".."):
        raise SecretError("expected the plain name of a credential")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise NotPassedError("systemd passed no credentials (LoadCredential= in the unit)")
    return _first_line(Path(folder, name))


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, ValueError) as error:  # not UTF-8, or an impossible file name
        raise SecretError(f"cannot be read ({getattr(error, 'strerror', 'not text')})") from error
