"""Secrets that commands are given: from a file, the environment, standard input or a prompt.

What stands in an argument shows in `ps` and in the shell's history. It still works, with a warning, and is
overwritten in the list of processes as soon as the command knows it.
"""

import ctypes
import os
import sys
from pathlib import Path

import click

from daemon.cli.options import WARNINGS
from daemon.config.secrets import SecretFault, filled_in
from daemon.errors import StartError
from pipeline.base.redaction import KNOWN
from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import UrlError, split_url

STANDARD_INPUT = "-"
_ID_LENGTH = 24
WAYS = "${env:NAME} or ${file:/path} in its place (in single quotes)"

token_file_option = click.option(
    "--token-file",
    "user_token_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read the user's token from this file.",
)


def token(argument: str, file: Path | None, *, instead: str) -> str:
    """The token or id of a user: from the file, else the argument, which may be empty."""
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
    """An argument that may hold a secret, with references such as ${env:NAME} filled in.

    `-` stands for a line of standard input. `secret` says that the whole text is one.
    """
    if text == STANDARD_INPUT:
        return read(what)
    faults: list[SecretFault] = []
    filled = str(filled_in(text, os.environ, faults))
    if faults:
        raise StartError(f"{what}: {faults[0].text}")
    if filled == text and (secret or _holds_secret(text)):
        warn(text, what, f"give - to read it from standard input, or {WAYS}")
    return filled


def change(text: str) -> str:
    """KEY=VALUE, in which the value may hold a secret."""
    key, equals, value = text.partition("=")
    if not equals or not value:
        return text
    return f"{key}={argument(value, key, secret=is_secret_name(key))}"


def read(what: str) -> str:
    """A line of standard input; asked for without an echo where a person sits there."""
    if sys.stdin.isatty():
        secret = str(click.prompt(what, hide_input=True, err=True))
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    KNOWN.add(secret)
    return secret


def warn(secret: str, what: str, instead: str) -> None:
    """Hide the secret from now on, and say that it showed once the command has done its work."""
    KNOWN.add(secret)
    _hide(secret)
    warning = f"{what} in an argument shows in `ps` and in the shell's history: {instead}"
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta.setdefault(WARNINGS, []).append(warning)


def _holds_secret(text: str) -> bool:
    try:
        parts = split_url(text)
    except UrlError:
        return True
    return bool(parts.password) or parts.secret_end is not None


def _hide(secret: str) -> None:
    """Overwrite the secret in the arguments of this process, as far as the system tells where they are."""
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        # proc(5): arg_start is the 48th field, and the second may hold spaces and brackets.
        begin = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45])
    except (OSError, ValueError, IndexError):
        return
    hidden = os.fsencode(secret)
    place = shown.find(hidden)
    while begin and hidden and place >= 0:
        if ctypes.string_at(begin + place, len(hidden)) == hidden:
            ctypes.memset(begin + place, ord("*"), len(hidden))
        place = shown.find(hidden, place + len(hidden))
