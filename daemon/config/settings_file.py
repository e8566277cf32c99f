"""Finds and reads settings.toml."""

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.config.masking import masked
from daemon.config.secret_references import Key, SecretFault, resolve_references
from daemon.config.settings import Settings
from daemon.config.validation import key_text, validate
from daemon.errors import SettingsError

DEFAULT_PLACES = (Path("settings.toml"), Path("/etc/facend/settings.toml"))
HTTP_SECTION = re.compile(r"^\[http\].*\n(?:(?!\s*\[).*\n?)*", re.MULTILINE)


def find() -> Path:
    """The default settings file: FACEND_SETTINGS, ./settings.toml or /etc/facend/settings.toml."""
    if named := os.environ.get("FACEND_SETTINGS"):
        return Path(named)
    for place in DEFAULT_PLACES:
        with contextlib.suppress(PermissionError):  # this user cannot read a file there
            if place.is_file():
                return place
    tried = ", ".join(str(place) for place in DEFAULT_PLACES)
    raise SettingsError([f"no settings file found (tried {tried}); name one with --settings"])


def load(path: Path, environment: Mapping[str, str] = os.environ, *, service: bool = False) -> Settings:
    """Load the settings from the file.

    systemd passes credentials only to the service: in commands, cameras' references to credentials are empty.

    Raises:
        SettingsError: with a line for each error.
    """
    return _load(path, environment, service=service)[0]


def effective(path: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings in the file and the defaults of the others, as plain values, secrets as `***`.

    Raises:
        SettingsError: as `load`.
    """
    settings, hidden = _load(path, environment, service=False)
    return masked(settings, hidden)


def _load(path: Path, environment: Mapping[str, str], *, service: bool) -> tuple[Settings, dict[Key, str]]:
    """Load the settings; also returns, by key, the text to show in place of a value with references to
    secrets."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror})"]) from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or a number of thousands of digits
        raise SettingsError([f"{path}: not valid TOML: {error}"]) from error
    except RecursionError:
        raise SettingsError([f"{path}: not valid TOML: it is nested too deeply"]) from None
    faults: list[SecretFault] = []
    hidden: dict[Key, str] = {}
    filled = resolve_references(raw, environment, faults, hidden)
    if not service:
        faults = [fault for fault in faults if not (fault.not_passed and fault.key[:1] == ("cameras",))]
    if faults:
        # In the service, the unit lacks the credential, so the advice for commands does not apply.
        advice = "" if service else "; commands need it, too: put it into a file, ${file:/path}"
        raise SettingsError(
            [f"{path}: {key_text(it.key)} = {it.text}{advice if it.not_passed else ''}" for it in faults]
        )
    return validate(filled, source=str(path), folder=path.parent, hidden=hidden), hidden


def http_alone(path: Path, environment: Mapping[str, str] = os.environ) -> Settings | None:
    """The section [http] of a settings file that has errors in other sections, with defaults for all others.

    None if that section is invalid too.
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
    except (OSError, ValueError, RecursionError, SettingsError):  # reported with the whole file
        return None
    return None if faults else settings
