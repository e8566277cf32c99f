"""Reads secrets for commands from a file, the environment, standard input or a prompt.

A secret in an argument is visible in `ps` and in the shell's history. It is accepted with a warning, and
overwritten in the process list as soon as it is read.
"""

import ctypes
import os
import sys
from pathlib import Path

import click

from daemon.cli.output import warn_at_end
from daemon.config.secret_references import SecretFault, resolve_references
from daemon.errors import StartError
from pipeline.base.redaction import KNOWN
from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import UrlError, split_url

STANDARD_INPUT = "-"
_ID_LENGTH = 24
REFERENCES = "${env:NAME} or ${file:/path} in its place (in single quotes)"


def token(argument: str, file: Path | None, *, instead: str) -> str:
    """The token or id of a user, from the file if there is one, otherwise the argument, which may be
    empty."""
    if file is not None:
        try:
            with file.open(encoding="utf-8") as lines:
                secret = lines.readline().strip()
        except (OSError, ValueError) as error:
            raise StartError(f"--token-file {file}: cannot be read ({error})") from error
        if not secret:
            raise StartError(f"--token-file {file}: its first line is empty")
        KNOWN.add(secret)
        return secret
    if argument and len(argument) != _ID_LENGTH and any(argument in given for given in sys.argv):
        warn(argument, "the token", instead)
    return argument


def argument(text: str, what: str, *, secret: bool = False) -> str:
    """An argument that may contain a secret, with references such as ${env:NAME} resolved.

    `-` reads a line of standard input. `secret`: the whole text is a secret.
    """
    if text == STANDARD_INPUT:
        return read(what)
    faults: list[SecretFault] = []
    filled = str(resolve_references(text, os.environ, faults))
    if faults:
        raise StartError(f"{what}: {faults[0].text}")
    if filled == text and (secret or _contains_secret(text)):
        warn(text, what, f"give - to read it from standard input, or {REFERENCES}")
    return filled


def change(text: str) -> str:
    """KEY=VALUE whose value may contain a secret, with references resolved."""
    key, equals, value = text.partition("=")
    if not equals or not value:
        return text
    return f"{key}={argument(value, key, secret=is_secret_name(key))}"


def read(what: str) -> str:
    """A line of standard input; on a terminal a prompt without echo."""
    if sys.stdin.isatty():
        secret = str(click.prompt(what, hide_input=True, err=True))
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    KNOWN.add(secret)
    return secret


def warn(secret: str, what: str, instead: str) -> None:
    """Hide the secret from now on, and warn at the end of the command that it was visible."""
    KNOWN.add(secret)
    _hide(secret)
    warn_at_end(f"{what} in an argument is visible in `ps` and in the shell's history: {instead}")


def _contains_secret(text: str) -> bool:
    try:
        parts = split_url(text)
    except UrlError:
        return True
    return bool(parts.password) or parts.secret_end is not None


def _hide(secret: str) -> None:
    """Overwrite the secret in the arguments of this process, if the system gives their address."""
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        # proc(5): arg_start is the 48th field; the second field may contain spaces and brackets.
        begin = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45])
    except (OSError, ValueError, IndexError):
        return
    hidden = os.fsencode(secret)
    place = shown.find(hidden)
    while begin and hidden and place >= 0:
        if ctypes.string_at(begin + place, len(hidden)) == hidden:
            ctypes.memset(begin + place, ord("*"), len(hidden))
        place = shown.find(hidden, place + len(hidden))
