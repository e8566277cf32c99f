"""Requests of commands to the running daemon, over its HTTP port."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError

from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.status import DaemonReport
from store.facens.sync.migrate import MigrationReport
from store.upkeep.doctor.findings import Finding

STATUS_TIMEOUT_SECONDS = 3
CHECK_TIMEOUT_SECONDS = 3600
"""A check sends a line only for a finding."""
REBUILD_TIMEOUT_SECONDS = 60
"""A rebuild reports progress twice a second."""

# The daemon is local: ignore proxies of the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


_BROKEN = (OSError, http.client.HTTPException)
"""Failed connections, and answers that are not HTTP. A URLError is an OSError."""


class NoAnswerError(Exception):
    """The daemon's port does not answer, or another program answers."""


def base_url(settings: Settings) -> str:
    """The URL on which the daemon listens."""
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"http://{host}:{settings.http.port}"


def status(settings: Settings) -> DaemonReport:
    """The daemon's `/status`.

    Raises:
        NoAnswerError: it does not answer.
    """
    url = f"{base_url(settings)}/status"
    token = settings.http.token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  base_url begins with http://
    try:
        with _opener.open(request, timeout=STATUS_TIMEOUT_SECONDS) as answer:
            report = json.load(answer)
    except (*_BROKEN, ValueError) as error:
        raise NoAnswerError(f"{url} does not answer ({getattr(error, 'reason', error)})") from error
    try:
        return DaemonReport.model_validate(report)
    except ValidationError as error:
        answered = f"answers, but not as Facend {version('facend')} does"
        raise NoAnswerError(f"{url} {answered}: another program or version listens there") from error


def findings(
    settings: Settings, token: str, *, repair: bool, grace_seconds: float, force: bool = False
) -> Iterator[Finding]:
    """Let the daemon check its store, and yield its findings.

    Raises:
        NoAnswerError: no check began.
        StartError: the check began and did not complete.
    """
    query = f"repair={int(repair)}&force={int(force)}&grace_seconds={grace_seconds:g}"
    for line in _lines(settings, f"/doctor?{query}", token, "the check", CHECK_TIMEOUT_SECONDS):
        yield Finding.from_json(line)


def rebuild(settings: Settings, token: str, on_progress: Callable[[int, int], object]) -> MigrationReport:
    """Let the daemon correct its facen storage from MongoDB.

    `on_progress` gets the number of entries compared, and their total.

    Raises:
        NoAnswerError: the rebuild did not begin.
        StartError: the rebuild began and did not complete.
    """
    proof = None
    for line in _lines(settings, "/facens/rebuild", token, "the rebuild", REBUILD_TIMEOUT_SECONDS):
        if "of" in line:
            on_progress(line["done"], line["of"])
        else:
            proof = MigrationReport(**line)
    if proof is None:
        raise StartError("the daemon's answer has no result: is it another version?")
    return proof


def _lines(
    settings: Settings, path: str, token: str, work: str, timeout_seconds: float
) -> Iterator[dict[str, Any]]:
    """Start long work in the daemon, and yield the lines of its answer."""
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
                answered = json.loads(line)
                if "error" in answered:
                    raise StartError(f"store: {answered['error']}")
                if "end" in answered:
                    return
                yield answered
    except (*_BROKEN, ValueError) as error:
        raise StartError(f"the daemon ended during {work} ({error})") from error
    raise StartError(f"the daemon ended during {work}")
