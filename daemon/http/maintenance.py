"""`POST /doctor` and `POST /facens/rebuild`: long work on the store, for the commands of these names.

The facen storage is in the daemon's memory, so nobody else can compare it with MongoDB. Only
the owner of the box's data may ask, with `Authorization: Token …`. The answer is a JSON object a
line, and a last one with `end` or `error`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.http.credentials import credentials
from daemon.storing import Storing
from store import StoreError
from store.upkeep.doctor.doctor import GRACE

Lines = AsyncIterator[Mapping[str, object]]

TELL_SECONDS = 0.5
"""How often a rebuild tells how far it is."""


def doctor_route(storing: Storing) -> Route:
    """A line for each finding."""

    async def findings(repair: bool, force: bool, grace: timedelta) -> Lines:
        async for finding in storing.findings(repair=repair, force=force, grace=grace):
            yield finding.as_json()

    def asked(request: Request) -> Lines:
        try:
            grace = timedelta(seconds=float(request.query_params.get("grace_seconds", GRACE.total_seconds())))
        except (ValueError, OverflowError) as error:
            raise ValueError("grace_seconds is a number") from error
        repair, force = (request.query_params.get(name) == "1" for name in ("repair", "force"))
        return findings(repair, force, grace)

    return _route("/doctor", storing, asked)


def rebuild_route(storing: Storing) -> Route:
    """A line with `done` and `of`, the entries, again and again; and one with the proof."""

    async def rebuilt() -> Lines:
        progress = {"done": 0, "of": 0}

        def told(done: int, of: int) -> None:
            progress.update(done=done, of=of)

        work = asyncio.create_task(storing.rebuild_facens(told), name="rebuilding facens")
        try:
            while not (await asyncio.wait([work], timeout=TELL_SECONDS))[0]:
                yield progress
            yield asdict(work.result())
        finally:  # whoever asked may have gone
            work.cancel()
            await asyncio.wait([work])

    return _route("/facens/rebuild", storing, lambda _: rebuilt())


def _route(path: str, storing: Storing, work: Callable[[Request], Lines]) -> Route:
    """`work` begins when its first line is asked for; its ValueError says what is wrong with the question."""

    async def answer(request: Request) -> Response:
        try:
            if not await storing.is_owner(credentials(request, "token")):
                return PlainTextResponse("only the owner of the box's data may ask\n", status_code=401)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        try:
            lines = work(request)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        return StreamingResponse(_told(lines), media_type="application/x-ndjson")

    return Route(path, answer, methods=["POST"])


async def _told(lines: Lines) -> AsyncIterator[str]:
    try:
        async for line in lines:
            yield json.dumps(line) + "\n"
    except StoreError as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield '{"end": true}\n'
