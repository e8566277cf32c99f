"""What a command asks of the running daemon, over its own HTTP port."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from daemon.config.settings import Settings
from daemon.errors import StartError
from store.facens.sync.migrate import Proof
from store.upkeep.doctor.findings import Finding

STATUS_TIMEOUT_SECONDS = 3
CHECK_TIMEOUT_SECONDS = 3600
"""A check says something only when it finds something."""
REBUILD_TIMEOUT_SECONDS = 60
"""A rebuild says twice a second how far it is."""

# The daemon is on this machine, whatever proxy the environment names for the world outside.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


_BROKEN = (OSError, http.client.HTTPException)
"""A connection that fails, or something else than HTTP on it. A URLError is an OSError."""


class NoAnswerError(Exception):
    """The daemon's port does not answer, or not as Facend does."""


def base_url(settings: Settings) -> str:
    """Where the daemon of these settings listens."""
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"http://{host}:{settings.http.port}"


def status(settings: Settings) -> dict[str, Any]:
    """The daemon's own word on how it is. NoAnswerError where there is none."""
    url = f"{base_url(settings)}/status"
    token = settings.http.token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  base_url begins with http://
    try:
        with _opener.open(request, timeout=STATUS_TIMEOUT_SECONDS) as answer:
            told = json.load(answer)
    except (*_BROKEN, ValueError) as error:
        raise NoAnswerError(f"{url} does not answer ({getattr(error, 'reason', error)})") from error
    if not isinstance(told, dict) or not {"cameras", "store", "spool", "jobs"} <= told.keys():
        raise NoAnswerError(f"{url} answers, but not as Facend does: another program listens there")
    return told


def findings(
    settings: Settings, token: str, *, repair: bool, grace_seconds: float, force: bool = False
) -> Iterator[Finding]:
    """Has the daemon check its store, and gives what it finds.

    NoAnswerError where no check began; StartError where one began and could not be finished.
    """
    query = f"repair={int(repair)}&force={int(force)}&grace_seconds={grace_seconds:g}"
    for line in _lines(settings, f"/doctor?{query}", token, "the check", CHECK_TIMEOUT_SECONDS):
        yield Finding.of_json(line)


def rebuild(settings: Settings, token: str, told: Callable[[int, int], object]) -> Proof:
    """Has the daemon put its facen storage right by MongoDB. `told` hears how many entries of how many were
    looked at.

    NoAnswerError where it did not begin; StartError where it began and could not be finished.
    """
    proof = None
    for line in _lines(settings, "/facens/rebuild", token, "the rebuild", REBUILD_TIMEOUT_SECONDS):
        if "of" in line:
            told(line["done"], line["of"])
        else:
            proof = Proof(**line)
    if proof is None:
        raise StartError("the daemon tells nothing of what it did: is it of another version?")
    return proof


def _lines(
    settings: Settings, path: str, token: str, work: str, timeout_seconds: float
) -> Iterator[dict[str, Any]]:
    """What the daemon tells, a line at a time, of work that it does for the owner of the box's data."""
    request = urllib.request.Request(  # noqa: S310  base_url begins with http://
        f"{base_url(settings)}{path}", method="POST", headers={"Authorization": f"Token {token}"}
    )
    try:
        answer = _opener.open(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise NoAnswerError(f"the daemon refuses {work}: {said}") from error
    except _BROKEN as error:
        reason = getattr(error, "reason", error)
        raise NoAnswerError(f"{base_url(settings)} does not answer ({reason})") from error
    try:
        with answer:
            for line in answer:
                told = json.loads(line)
                if "error" in told:
                    raise StartError(f"store: {told['error']}")
                if "end" in told:
                    return
                yield told
    except (*_BROKEN, ValueError) as error:
        raise StartError(f"the daemon ended in the middle of {work} ({error})") from error
    raise StartError(f"the daemon ended in the middle of {work}")
