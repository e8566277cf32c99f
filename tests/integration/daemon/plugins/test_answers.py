"""Answers of plugins that cannot go out as they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from store import Context, User
from tests.plugins import Site, site, written

PLUGIN = """
from daemon.plugins import BaseHandler, HttpError
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

class Odd(BaseHandler):
    async def get(self, name):
        if name == "status":
            self.set_status(99999)
        if name == "value":
            self.set_header("x-a", "\u00fc\\r\\nx: y")
        if name == "name":
            self.set_header("x a", "b")
        if name == "length":
            self.set_header("Content-Length", "1")
        if name == "body":
            self.set_status(204)
            return {"a": 1}
        if name == "own":
            return Response("a", status_code=99999)
        if name == "short":
            return Response("a", headers={"content-length": "5"})
        if name == "raised":
            raise HttpError(99999, "odd", "odd")
        if name == "bodiless":
            raise HttpError(304, "odd", "odd")
        if name == "theirs":
            raise HTTPException(299)
        if name == "stream":
            return StreamingResponse(self.parts(), status_code=201)
        self.set_status(203)
        self.set_header("X-Name", " Gr\u00fcn ")
        return {}

    async def parts(self):
        yield b"x"
        raise ValueError("oh")

def activate(app, ctx, options):
    app.add_handlers(".*", [("/odd/{name}", Odd)])
"""


@pytest.fixture
async def api(ctx: Context, user: User, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(ctx, user, written(tmp_path / "plugins", {"api": PLUGIN})) as made:
        yield made


@pytest.mark.parametrize(
    "name",
    ["status", "value", "name", "length", "body", "own", "short", "raised", "bodiless", "theirs"],
)
async def test_an_answer_that_cannot_be_sent_is_a_fault(api: Site, user: User, name: str) -> None:
    """A status or header that is none, a body where none can be, one of another length: 500, and named."""
    answer = await api.ask("GET", f"/odd/{name}", user)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    status = (await api.status())["api"]
    assert status["failures"] == 1
    assert status["error"].startswith(f"GET /odd/{name}: ")
    fine = await api.ask("GET", "/odd/not", user)
    assert (fine.status_code, fine.headers["x-name"]) == (203, "Grün")


async def test_a_stream_that_fails_is_named_and_broken_off(api: Site, user: User) -> None:
    """What has gone out cannot be taken back; the client sees that it is not whole."""
    with pytest.raises(httpx.TransportError):
        await api.ask("GET", "/odd/stream", user)
    assert (await api.status())["api"]["error"] == "GET /odd/stream: ValueError: oh"
