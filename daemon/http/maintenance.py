"""`POST /doctor` and `POST /facens/rebuild`: long work on the store, for the commands of these names.

The facen storage is in the daemon's memory, so only the daemon can compare it with MongoDB. Requests carry
the token of the service user, `Authorization: Token …`. The answer is one JSON object per line; the last one
has `end` or `error`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.http.credentials import credentials
from pipeline.base.background import supervised
from store import StoreError
from store.facens.sync.migrate import MigrationReport
from store.upkeep.doctor.doctor import GRACE
from store.upkeep.doctor.findings import Finding

Lines = AsyncIterator[Mapping[str, object]]

PROGRESS_SECONDS = 0.5
"""Interval of the progress lines of a rebuild."""


class Maintenance(Protocol):
    """The store's side of these routes. Its methods raise StoreError while the store is away."""

    async def is_service_token(self, tokens: Sequence[str]) -> bool:
        """Whether one of the tokens belongs to the user who owns this box's data."""
        ...

    def findings(self, *, repair: bool, grace: timedelta, force: bool = False) -> AsyncIterator[Finding]:
        """Inconsistencies in the store, repaired if `repair`."""
        ...

    async def rebuild_facens(self, on_progress: Callable[[int, int], object]) -> MigrationReport:
        """Correct the facen storage from MongoDB; reports entries compared, and their total."""
        ...


def doctor_route(maintenance: Maintenance) -> Route:
    """Streams one line per finding."""

    async def findings(repair: bool, force: bool, grace: timedelta) -> Lines:
        async for finding in maintenance.findings(repair=repair, force=force, grace=grace):
            yield finding.as_json()

    def start(request: Request) -> Lines:
        try:
            grace = timedelta(seconds=float(request.query_params.get("grace_seconds", GRACE.total_seconds())))
        except (ValueError, OverflowError) as error:
            raise ValueError("expected grace_seconds to be a number") from error
        repair, force = (request.query_params.get(name) == "1" for name in ("repair", "force"))
        return findings(repair, force, grace)

    return _route("/doctor", maintenance, start)


def rebuild_route(maintenance: Maintenance) -> Route:
    """Streams lines with `done` and `of`, numbers of entries, then one line with the proof."""

    async def rebuilt() -> Lines:
        progress = {"done": 0, "of": 0}

        def report(done: int, of: int) -> None:
            progress.update(done=done, of=of)

        async def work() -> MigrationReport | StoreError:
            try:
                return await maintenance.rebuild_facens(report)
            except StoreError as error:  # for the client; any other error ends the process
                return error

        task = supervised(work(), "rebuild of the facens")
        try:
            while not (await asyncio.wait([task], timeout=PROGRESS_SECONDS))[0]:
                yield progress
            if isinstance(outcome := task.result(), StoreError):
                raise outcome
            yield asdict(outcome)
        finally:  # the client may have disconnected
            task.cancel()
            await asyncio.wait([task])

    return _route("/facens/rebuild", maintenance, lambda _: rebuilt())


def _route(path: str, maintenance: Maintenance, work: Callable[[Request], Lines]) -> Route:
    """`work` raises ValueError for invalid parameters; it begins when the first line is requested."""

    async def answer(request: Request) -> Response:
        try:
            if not await maintenance.is_service_token(credentials(request, "token")):
                return PlainTextResponse(
                    "this requires the token of the box's service user\n", status_code=401
                )
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        try:
            lines = work(request)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        return StreamingResponse(_stream(lines), media_type="application/x-ndjson")

    return Route(path, answer, methods=["POST"])


async def _stream(lines: Lines) -> AsyncIterator[str]:
    try:
        async for line in lines:
            yield json.dumps(line) + "\n"
    except StoreError as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield '{"end": true}\n'
