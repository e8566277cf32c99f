"""Secrets that stand outside settings.toml.

Any text in the settings may hold `${env:NAME}` (environment), `${file:/path}` (the
file's first line) or `${credential:NAME}` (systemd's LoadCredential), and nothing
of what they give is ever shown.
"""

import re
from collections.abc import Mapping
from pathlib import Path

REFERENCE = re.compile(r"\$\{(env|file|credential):([^}]*)\}")


class SecretError(ValueError):
    """A reference that leads nowhere; says which one, never a value."""


def filled_in(value: object, environment: Mapping[str, str]) -> object:
    """The same value with every reference in its texts replaced. SecretError names a broken one."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda match: _value(match[1], match[2], environment), value)
    if isinstance(value, dict):
        return {key: filled_in(inner, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner, environment) for inner in value]
    return value


def _value(kind: str, name: str, environment: Mapping[str, str]) -> str:
    if kind == "env":
        if name not in environment:
            raise SecretError(f"${{env:{name}}}: there is no environment variable {name}")
        return environment[name]
    if kind == "file":
        return _first_line(Path(name), f"${{file:{name}}}")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise SecretError(
            f"${{credential:{name}}}: systemd passed no credentials (LoadCredential= in the unit)"
        )
    if "/" in name or name in ("", ".", ".."):
        raise SecretError(f"${{credential:{name}}}: a credential has a plain name")
    return _first_line(Path(folder, name), f"${{credential:{name}}}")


def _first_line(path: Path, reference: str) -> str:
    try:
        with path.open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(
            f"{reference}: cannot be read ({getattr(error, 'strerror', 'not text')})"
        ) from error
