"""Resolves references to secrets in settings.toml.

Any text in the settings may contain `${env:NAME}` (environment), `${file:/path}` (first line of the file) or
`${credential:NAME}` (systemd's LoadCredential). The values are never shown. In user or password of a URL they
are percent-encoded, unless they already are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.base.files import open_regular
from pipeline.base.redaction import KNOWN
from pipeline.base.urls import HIDDEN

_URL_LOGIN = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]*")
_LOGIN_END = re.compile(r"[^/?#@]*@")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*")
"""Valid as user info (RFC 3986)."""
MAX_SECRET_BYTES = 64 * 1024
"""Maximum length of the first line of a file; further bytes are cut off."""
REFERENCE = re.compile(r"\$\{(env|file|credential):([^}]*)\}")

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SecretFault:
    """A reference that cannot be resolved."""

    key: Key
    """Key of the setting that contains the reference."""
    text: str
    """The reference and the reason, never a value."""
    not_passed: bool
    """Whether it is a credential, and systemd passed no credentials to this process."""


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

        def resolve(found: re.Match[str]) -> str:
            return _encode_in_url(_replacement(found[1], found[2], environment, faults, key), found)

        return REFERENCE.sub(resolve, value)
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


def _encode_in_url(secret: str, reference: re.Match[str]) -> str:
    """Percent-encode the secret if the reference is in the login of a URL."""
    before = REFERENCE.sub("", reference.string[: reference.start()])
    after = REFERENCE.sub("", reference.string[reference.end() :])
    if not _URL_LOGIN.fullmatch(before) or not _LOGIN_END.match(after):
        return secret
    whole_login = before.endswith("://") and after.startswith("@")
    if _ENCODED.fullmatch(secret) and (whole_login or ":" not in secret):
        return secret
    return quote(secret, safe=":" if whole_login else "")


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
        SecretError: there is no such credential.
    """
    if "/" in name or name in ("", ".", ".."):
        raise SecretError("expected the plain name of a credential")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise NotPassedError("systemd passed no credentials (LoadCredential= in the unit)")
    return _first_line(Path(folder, name))


def _first_line(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.readline(MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:  # not UTF-8, or an impossible file name
        raise SecretError(f"cannot be read ({getattr(error, 'strerror', 'not text')})") from error
