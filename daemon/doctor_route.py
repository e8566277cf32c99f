"""`POST /doctor`: the daemon checks its own store, for `facend doctor`.

The facen storage is in the daemon's memory, so nobody else can compare it with MongoDB. Only
the owner of the box's data may ask, with `Authorization: Token …`. The answer is a JSON object a
line for each finding, and a last one with `end` or `error`.
"""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.storing import Storing
from store import AuthenticationError, StoreError
from store.doctor import GRACE


def doctor_route(storing: Storing) -> Route:
    async def check(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "token" or not await storing.is_owner(token):
                return PlainTextResponse("only the owner of the box's data may ask\n", status_code=401)
            grace = timedelta(seconds=float(request.query_params.get("grace_seconds", GRACE.total_seconds())))
        except AuthenticationError as error:
            return PlainTextResponse(f"{error}\n", status_code=401)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        except (ValueError, OverflowError):
            return PlainTextResponse("grace_seconds is a number\n", status_code=400)
        repair = request.query_params.get("repair") == "1"
        return StreamingResponse(_lines(storing, repair, grace), media_type="application/x-ndjson")

    return Route("/doctor", check, methods=["POST"])


async def _lines(storing: Storing, repair: bool, grace: timedelta) -> AsyncIterator[str]:
    try:
        async for finding in storing.findings(repair=repair, grace=grace):
            yield json.dumps(finding.as_json()) + "\n"
    except StoreError as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield '{"end": true}\n'
