"""The environment of child processes, without the passwords and tokens in Facend's environment."""

import os
import re
from collections.abc import Mapping

_ANY_PROGRAM = r"GLIBC_TUNABLES|HOME|LANG|LC_\w+|LD_LIBRARY_PATH|MALLOC_ARENA_MAX|PATH|TMPDIR|TZ"
PIP = (
    r"NETRC|PIP_\w+|PYTHON\w+|VIRTUAL_ENV|XDG_\w+|(?:REQUESTS|CURL)_CA_BUNDLE|"
    r"SSL_CERT_(?:DIR|FILE)|(?i:\w+_PROXY)"
)
"""Variables that pip reads: its configuration, proxies and certificates."""


def child_environment(also: str = "", environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that any program may need, and those whose names match the pattern `also`."""
    wanted = re.compile(f"{_ANY_PROGRAM}|{also}" if also else _ANY_PROGRAM)
    return {name: value for name, value in environment.items() if wanted.fullmatch(name)}
