"""Forms and files in the body of a request to a plugin, as curl, browsers and Tornado's clients send them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from store import Context, User
from tests.plugins import Site, site, written

PLUGIN = """
from daemon.plugins import BaseHandler

class Form(BaseHandler):
    async def post(self):
        return {
            "body": self.body.decode("latin-1"),
            "raw": len(await self.request.body()),
            "files": {
                name: [[one.filename, one["body"].decode("latin-1"), one.content_type] for one in files]
                for name, files in self.files.items()
            },
            "name": self.get_argument("name", None),
            "names": self.get_arguments("name"),
        }

def activate(app, ctx, plugin_name, plugin_source):
    app.add_handlers(".*", [("/form", Form)])
"""


@pytest.fixture
async def api(ctx: Context, user: User, tmp_path: Path) -> AsyncIterator[Site]:
    folder = written(tmp_path / "plugins", {"forms": PLUGIN})
    async with site(ctx, user, folder, max_body_bytes=1_000_000) as made:
        assert (await made.status())["forms"]["state"] == "active"
        yield made


PICTURE = b"\xff\xd8\r\n--x\x00\xff picture \r\n"


async def test_one_file_of_a_form_is_the_body(api: Site, user: User) -> None:
    """As `curl -F photo=@picture.jpg -F name=hall` sends it."""
    files = {"photo": ("a b.jpg", PICTURE, "image/jpeg")}
    answer = (await api.ask("POST", "/form?name=query", user, files=files, data={"name": "Grün"})).json()
    text = PICTURE.decode("latin-1")
    assert answer["body"] == text
    assert answer["raw"] > len(PICTURE)
    assert answer["files"] == {"photo": [["a b.jpg", text, "image/jpeg"]]}
    assert (answer["name"], answer["names"]) == ("Grün", ["query", "Grün"])


async def test_several_files_come_by_the_names_of_their_fields(api: Site, user: User) -> None:
    """In their order; the body is the form as it was sent then."""
    files = [("photo", ("1.png", b"one")), ("photo", ("2.png", b"")), ("other", ("ü.bin", b"three"))]
    answer = (await api.ask("POST", "/form", user, files=files)).json()
    assert [one[:2] for one in answer["files"]["photo"]] == [["1.png", "one"], ["2.png", ""]]
    assert answer["files"]["other"][0][1] == "three"
    assert len(answer["body"]) == answer["raw"]


async def test_a_urlencoded_form_has_fields(api: Site, user: User) -> None:
    """As browsers and `curl -d` send it; the query's parameters are there, too."""
    answer = (await api.ask("POST", "/form?name=query", user, data={"name": ["a b", "ü&="]})).json()
    assert answer["names"] == ["query", "a b", "ü&="]
    assert answer["name"] == "ü&="


async def test_a_picture_that_is_called_a_form_stays_a_picture(api: Site, user: User) -> None:
    """`curl --data-binary` says so of everything."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (PICTURE, b"%zz=%ff&=&&;", b"a=%ff"):
        answer = (await api.ask("POST", "/form", user, content=body, headers=headers)).json()
        assert answer["body"] == body.decode("latin-1")
        assert answer["files"] == {}


def part(disposition: str, body: bytes = b"x") -> bytes:
    return f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + body + b"\r\n"


FIELD = part('form-data; name="name"')
FILE = part('form-data; name="f"; filename="a"')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        FIELD,
        FIELD[:20],
        FILE + b"--b",
        part("form-data") + b"--b--\r\n",
        b"--b\r\n\r\nx\r\n--b--\r\n",
        FIELD * 1001 + b"--b--\r\n",
        FILE * 101 + b"--b--\r\n",
        b"--b\r\nContent-Disposition" + b"a" * 100_000 + b": x\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n" + b"a: b\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n",
    ],
    ids=range(11),
)
async def test_a_malformed_form_is_refused(api: Site, user: User, body: bytes) -> None:
    """Cut short, without names, with too many parts or headers: 400, and no fault of the plugin."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await api.ask("POST", "/form", user, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_form")
    assert (await api.status())["forms"]["failures"] == 0


async def test_a_form_without_a_boundary_and_one_without_a_token_are_refused(api: Site, user: User) -> None:
    """The token comes first."""
    headers = {"Content-Type": "multipart/form-data"}
    assert (await api.ask("POST", "/form", user, content=FILE, headers=headers)).status_code == 400
    assert (await api.ask("POST", "/form", files={"a": b"x"})).status_code == 401
    large = {"photo": b"a" * 1_000_001}
    answer: httpx.Response = await api.ask("POST", "/form", user, files=large)
    assert answer.status_code == 413
