"""Plugins' handlers over real HTTP, with a real store behind them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from daemon.config.settings import PluginsSettings
from daemon.runtime import logs
from store import Context, User
from tests.facens import person_facen, stored
from tests.plugins import Site, site, web, written

PLUGIN = """
import asyncio
import json
from daemon.plugins import BaseHandler, HttpError
from store import errors

class Echo(BaseHandler):
    async def post(self):
        return {"got": self.json(), "by": self.user["_id"]}

class Person(BaseHandler):
    async def get(self, number, camera):
        return [number, camera, self.get_argument("day"), self.get_argument("most", "5")]

class Faces(BaseHandler):
    async def get(self):
        return await self.ctx.faces.find(self.user, {})
    async def delete(self):
        self.set_status(202)
        self.set_header("X-Removed", "1")

class Raw(BaseHandler):
    async def get(self):
        self.set_header("Content-Type", "image/png")
        self.write(b"\\x89")
        self.write("PNG")
    async def put(self):
        return self.body
    async def post(self):
        return {"headers": list(self.request.headers), "again": len(await self.request.body())}

class Fails(BaseHandler):
    async def get(self, name):
        if name == "own":
            raise HttpError(418, "teapot", "I am one")
        if name == "slow":
            await asyncio.sleep(60)
        if name == "exit":
            raise SystemExit(1)
        if name == "unknown":
            return object()
        if name == "gallery":
            await self.ctx.galleries.add(self.user, "no spaces allowed")
        if name == "filter":
            await self.ctx.faces.find(self.user, {"$where": "1"})
        if name == "missing":
            face = await self.ctx.faces.find_one(self.user, {})
            await self.ctx.faces.identify(self.user, "nowhere", face, 1, 0)
        if name == "taken":
            one = await self.ctx.users.find_one({})
            await self.ctx.users.add({"token": one["token"]})
        if name == "picture":
            await self.ctx.extractor.extract(b"none")
        if name == "away":
            raise errors.StoreUnavailableError("mongod is away")
        raise RuntimeError("the secret of the inside")

class Me(BaseHandler):
    async def get(self):
        return {
            "user": self.user, "plain": dict(self.user), "text": json.dumps(self.user, default=str),
            "shown": f"{self.user} {dict(self.user)!r}", "all": await self.ctx.users.find({}),
        }

class Set(BaseHandler):
    async def get(self):
        return self.greeting

def activate(app, ctx, options):
    app.add_handlers(".*", [
        ("/echo", Echo),
        ("/persons/([0-9]+)/at/(\\\\w+)", Person),
        ("/faces", Faces),
        ("/raw", Raw),
        ("/fails/{name}", Fails),
        ("/me", Me),
        ("/set", Set, {"greeting": options["greeting"]}),
    ])
    app.add_handlers("box", [("/only-box", Echo)])
"""
OPTIONS = {"api": {"greeting": "hello"}}


@pytest.fixture
async def api(ctx: Context, user: User, tmp_path: Path) -> AsyncIterator[Site]:
    folder = written(tmp_path / "plugins", {"api": PLUGIN})
    limits = {"request_timeout_seconds": 0.5, "max_body_bytes": 2048}
    async with site(ctx, user, folder, options=OPTIONS, **limits) as made:
        assert (await made.status())["api"]["state"] == "active"
        yield made


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which is JSON."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["message"]
    return answer.status_code, answer.json()["error"]["code"]


async def test_json_goes_in_and_out(api: Site, user: User) -> None:
    """A handler reads JSON and its user, and answers with what it returns."""
    answer = await api.ask("POST", "/echo", user, json={"name": "Grün", "n": [1, None]})
    assert answer.status_code == 200
    assert answer.json() == {"got": {"name": "Grün", "n": [1, None]}, "by": str(user["_id"])}
    assert answer.headers["content-type"] == "application/json"


async def test_arguments_come_from_the_path_and_the_query(api: Site, user: User) -> None:
    """Groups of the path are the method's arguments; a missing parameter without a default is a 400."""
    answer = await api.ask("GET", "/persons/7/at/hall?day=monday", user)
    assert answer.json() == ["7", "hall", "monday", "5"]
    assert error(await api.ask("GET", "/persons/7/at/hall", user)) == (400, "missing_argument")


async def test_stored_faces_go_out_as_face_objects(api: Site, ctx: Context, user: User) -> None:
    """And only the user's own, because the context says so."""
    await stored(ctx, user, person_facen(1), ["default"], person_id=3)
    await stored(ctx, await ctx.users.add({}), person_facen(2), [])
    (face,) = (await api.ask("GET", "/faces", user)).json()
    assert face["bbox"] == [-3.5, 10.0, 96.25, 130.0]
    assert (face["person_id"], face["galleries"], face["owner"]) == (3, ["default"], str(user["_id"]))


async def test_answers_without_json(api: Site, user: User) -> None:
    """Bytes with a type of their own, a status and headers without a body, the body given back."""
    picture = await api.ask("GET", "/raw", user)
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG", "image/png")
    removed = await api.ask("DELETE", "/faces", user)
    assert (removed.status_code, removed.content, removed.headers["x-removed"]) == (202, b"", "1")
    assert (await api.ask("PUT", "/raw", user, content=b"\x00\xff")).content == b"\x00\xff"
    assert (await api.ask("GET", "/set", user)).json() == "hello"


async def test_every_path_asks_for_the_token_of_an_active_user(api: Site, ctx: Context, user: User) -> None:
    """None, another scheme, an unknown one, an inactive user's: 401, with what is expected."""
    inactive = await ctx.users.add({"active": False})
    token = user["token"]
    for header in (
        None,
        token,
        f"Bearer {token}",
        "Token",
        f"Token {token}x",
        f"Token {token[:-1]}",
    ):
        headers = {} if header is None else {"Authorization": header}
        answer = await api.ask("POST", "/echo", headers=headers, json={})
        assert error(answer)[0] == 401
        assert answer.headers["www-authenticate"] == "Token"
        assert token not in answer.text
    assert error(await api.ask("POST", "/echo", inactive, json={})) == (401, "unknown_token")
    assert (await api.ask("POST", "/echo", json={}, headers={"authorization": f"token {token}"})).is_success
    await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": False}})
    assert error(await api.ask("POST", "/echo", user, json={})) == (401, "unknown_token")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_token_beyond_ascii_comes_in_either_encoding(api: Site, ctx: Context, encoding: str) -> None:
    """UTF-8, as most clients send a header, or Latin-1; a token that is not in Latin-1 as UTF-8 alone."""
    user = await ctx.users.add({"token": "schlüssel äöü"})
    given = b"Token " + user["token"].encode(encoding)
    answer = await api.client.post("/echo", headers=[(b"authorization", given)], json={})
    assert answer.json()["by"] == str(user["_id"])
    other = await ctx.users.add({"token": "日本"})
    given = b"Token " + other["token"].encode(encoding, "replace")
    answer = await api.client.post("/echo", headers=[(b"authorization", given)], json={})
    assert answer.status_code == (200 if encoding == "utf-8" else 401)


async def test_however_a_handler_shows_its_user_the_token_stays(api: Site, ctx: Context, user: User) -> None:
    """As a model, as a plain dictionary, as text that the plugin made; and those it found by itself."""
    answer = await api.ask("GET", "/me", user)
    assert answer.json()["user"]["_id"] == answer.json()["plain"]["_id"] == str(user["_id"])
    assert len(answer.json()["all"]) == 1
    assert user["token"] not in answer.text


async def test_the_handler_does_not_see_the_token_in_the_request(api: Site, user: User) -> None:
    """What a plugin logs of a request holds no token; the body can still be read from the request."""
    answer = (await api.ask("POST", "/raw", user, content=b"12345")).json()
    assert "authorization" not in answer["headers"]
    assert "host" in answer["headers"]
    assert answer["again"] == 5


async def test_unknown_paths_and_methods(api: Site, user: User) -> None:
    """404 and 405 are JSON; 405 says what is possible, to those with a token."""
    assert error(await api.ask("GET", "/nowhere", user)) == (404, "not_found")
    assert error(await api.ask("GET", "/only-box", user)) == (404, "not_found")
    assert (await api.ask("POST", "/only-box", user, json=1, headers={"Host": "box:99"})).is_success
    answer = await api.ask("PATCH", "/faces", user)
    assert error(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, DELETE"
    assert error(await api.ask("PATCH", "/faces")) == (401, "no_token")
    assert (await api.ask("GET", "/healthz")).text == "ok\n"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[NaN]", b"[" * 2000, b'{"a": 1}]'])
async def test_a_body_that_is_no_json_is_a_400(api: Site, user: User, body: bytes) -> None:
    """Cut short, no UTF-8, numbers that are none, nested without end."""
    assert error(await api.ask("POST", "/echo", user, content=body)) == (400, "bad_json")


async def test_a_body_over_the_limit_is_refused(api: Site, user: User) -> None:
    """By its announced length, or while it comes where none was announced; at the limit it is taken."""

    async def drops() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    assert error(await api.ask("PUT", "/raw", user, content=b"x" * 2049)) == (413, "too_large")
    assert error(await api.ask("PUT", "/raw", user, content=drops())) == (413, "too_large")
    assert len((await api.ask("PUT", "/raw", user, content=b"x" * 2048)).content) == 2048


async def test_a_body_that_does_not_come_is_not_waited_for(api: Site, user: User) -> None:
    """A client that stops in the middle holds nothing for ever."""

    async def stalls() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3)
        yield b"y"

    assert error(await api.ask("PUT", "/raw", user, content=stalls())) == (408, "too_slow")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own", (418, "teapot")),
        ("gallery", (400, "bad_value")),
        ("filter", (400, "bad_value")),
        ("missing", (404, "not_found")),
        ("taken", (409, "conflict")),
        ("away", (503, "unavailable")),
        ("slow", (504, "timeout")),
        ("exit", (500, "internal")),
        ("unknown", (500, "internal")),
        ("anything", (500, "internal")),
    ],
)
async def test_what_a_handler_raises_becomes_an_error_in_json(
    api: Site, ctx: Context, user: User, name: str, expected: tuple[int, str]
) -> None:
    """The store's errors say what is wrong; a fault of the plugin says nothing but to the log."""
    await stored(ctx, user, person_facen(1), [])
    answer = await api.ask("GET", f"/fails/{name}", user)
    assert error(answer) == expected
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) is (expected[0] == 503)
    status = (await api.status())["api"]
    assert status["failures"] == (1 if expected[0] in (500, 504) else 0)
    if status["failures"]:
        assert status["error"].startswith(f"GET /fails/{name}: ")
    assert (await api.ask("GET", "/set", user)).json() == "hello"


async def test_no_token_and_no_inside_reach_log_or_answer(
    api: Site, user: User, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failing request is in the log with the plugin's name and its traceback, without the token."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("json", "debug")
    try:
        await api.ask("GET", "/fails/anything", user)
        await api.ask("GET", "/fails/anything", headers={"Authorization": f"Token {user['token']}x"})
    finally:
        root.handlers[:], root.level = handlers, level
    text = capfd.readouterr().err
    assert '"plugin": "api"' in text
    assert "the secret of the inside" in text
    assert user["token"] not in text


async def test_before_the_store_opens_plugins_answer_503(ctx: Context, user: User, tmp_path: Path) -> None:
    """Found as soon as they are activated, 503 again when closed; without plugins 404 at once."""
    folder = written(tmp_path / "plugins", {"api": PLUGIN})
    async with web(PluginsSettings(dirs=(folder,), options=OPTIONS)) as early:
        assert error(await early.ask("GET", "/set", user)) == (503, "not_ready")
        assert (await early.ask("GET", "/healthz")).status_code == 200
        await early.plugins.activate(ctx, user, early.events)
        assert (await early.ask("GET", "/set", user)).json() == "hello"
        await early.plugins.close()
        assert error(await early.ask("GET", "/set", user)) == (503, "not_ready")
    async with web(PluginsSettings()) as bare:
        assert error(await bare.ask("GET", "/set", user)) == (404, "not_found")
