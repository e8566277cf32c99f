"""The findface-facenapi wire, as a client knows it who has its documentation and nothing else."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image as PillowImage

from daemon.http.facenapi.api import FacenApi
from daemon.http.facenapi.call import WireSettings
from daemon.http.server import application, serving
from daemon.runtime.metrics import Metrics
from pipeline.extractor import FaceExtractor
from store import Context, User
from tests.facens import person_facen, stored
from tests.faces import default_models, sample_path
from tests.health import Healthy
from tests.mongo import StoreArguments

THRESHOLDS = {"strict": 0.8, "medium": 0.75, "low": 0.7, "none": 0.0}


class Client:
    """Calls as the documentation shows them."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self._headers = {"Authorization": f"Token {token}"}

    async def __call__(self, method: str, path: str, status: int = 200, **given: Any) -> Any:
        answer = await self.http.request(method, path, headers=self._headers, **given)
        assert answer.status_code == status, answer.text
        return (
            answer.json() if answer.content and "json" in answer.headers["content-type"] else answer.content
        )


@pytest.fixture(scope="module")
def group() -> bytes:
    """A picture of six people."""
    return sample_path().read_bytes()


@pytest.fixture
async def ctx(store_settings: StoreArguments) -> AsyncIterator[Context]:
    async with store_settings.open(extractor=FaceExtractor(default_models())) as opened:
        yield opened


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({"token": "a client's token"})


@pytest.fixture
async def served(ctx: Context) -> AsyncIterator[httpx.AsyncClient]:
    api = FacenApi(WireSettings(THRESHOLDS, 0.75), lambda: ctx)
    app = application(Metrics(version="1", pack="p", runtime="r").registry, Healthy(), api.routes())
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address, timeout=60) as http,
    ):
        yield http


@pytest.fixture
async def call(served: httpx.AsyncClient, user: User) -> Client:
    return Client(served, user["token"])


def cut(picture: bytes, box: dict[str, int], margin: float = 0.6) -> bytes:
    """One face of a picture, with its surroundings, as a picture of its own."""
    with PillowImage.open(io.BytesIO(picture)) as image:
        wide, high = (box["x2"] - box["x1"]) * margin, (box["y2"] - box["y1"]) * margin
        part = image.crop((box["x1"] - wide, box["y1"] - high, box["x2"] + wide, box["y2"] + high))
        data = io.BytesIO()
        part.save(data, "JPEG", quality=95)
        return data.getvalue()


async def faces_of(call: Client, picture: bytes) -> list[dict[str, int]]:
    found = await call("POST", "/v1/detect/", files={"photo": ("group.jpg", picture)})
    return list(found["faces"])


async def test_who_is_enrolled_is_identified(call: Client, group: bytes) -> None:
    """Detect, enrol two people with meta and galleries, identify, verify; with and without a final slash."""
    boxes = await faces_of(call, group)
    assert len(boxes) == 6 and set(boxes[0]) == {"x1", "y1", "x2", "y2"}
    await call("POST", "/v0/galleries/staff", 201)
    await call("POST", "/v0/galleries/staff/", 409)
    assert (await call("GET", "/v1/galleries"))["results"] == ["default", "staff"]
    added = []
    for number, box in enumerate(boxes[:2]):
        fields = {"meta": f"person {number}", "galleries": "staff"}
        answer = await call("POST", "/v0/face", files={"photo": cut(group, box)}, data=fields)
        (face,) = answer["results"]
        assert face["galleries"] == ["default", "staff"] and face["meta"] == f"person {number}"
        assert "age" not in face
        added.append(face)
    searched = {"photo": cut(group, boxes[1], 0.9)}
    found = await call("POST", "/v1/faces/gallery/staff/identify/?n=2&threshold=none", files=searched)
    ((key, results),) = found["results"].items()
    assert [result["face"]["meta"] for result in results] == ["person 1", "person 0"]
    assert results[0]["confidence"] > 0.9 > 0.7 > results[1]["confidence"]
    assert key == json.dumps(json.loads(key)) and len(json.loads(key)) == 4
    found = await call("POST", "/v1/identify", files={"photo": cut(group, boxes[5])}, data={"strict": "1"})
    assert list(found["results"].values()) == [[]]
    pictures = {"photo1": cut(group, boxes[0]), "photo2": group}
    data = {"mf_selector": "all", "threshold": "strict"}
    verified = await call("POST", "/v1/verify", files=pictures, data=data)
    assert verified["verified"] is True
    assert [result["verified"] for result in verified["results"]] == [True] + [False] * 5
    face = await call("GET", f"/v1/face/id/{added[0]['id']}/")
    for field in ("photo", "thumbnail", "normalized"):
        assert len(await call("GET", face[field])) > 500


async def test_one_face_is_chosen_among_several(call: Client, group: bytes) -> None:
    """By a box in any of its forms, or by the selector; without either the answer has the boxes."""
    photo = {"photo": ("group.jpg", group)}
    refused = await call("POST", "/v1/face", 400, files=photo)
    assert (refused["code"], refused["param"], len(refused["faces"])) == ("BAD_PARAM", "mf_selector", 6)
    box = refused["faces"][3]
    sides = [box[side] for side in ("x1", "y1", "x2", "y2")]
    for form in (
        {"bbox": json.dumps([sides])},
        {"bbox": json.dumps([box])},
        {"bbox": json.dumps(sides)},
        box,
    ):
        (face,) = (await call("POST", "/v1/face", files=photo, data=form))["results"]
        assert [face[side] for side in ("x1", "y1", "x2", "y2")] == sides
    (face,) = (await call("POST", "/v1/face?mf_selector=biggest", files=photo))["results"]
    assert len((await call("POST", "/v1/face?mf_selector=all", files=photo))["results"]) == 6
    assert (await call("POST", "/v1/face", 400, files=photo, data={"bbox": "[[-9,-9,0,0]]"}))[
        "param"
    ] == "bbox"


async def test_galleries_of_a_face_are_edited(call: Client, group: bytes) -> None:
    """By lists to add, del and set; the gallery's faces are listed by it, and stay when it is deleted."""
    (face,) = (await call("POST", "/v1/face?mf_selector=biggest", files={"photo": group}))["results"]
    for name in ("guests", "staff"):
        await call("POST", f"/v1/galleries/{name}", 201)
    path = f"/v1/face/id/{face['id']}"
    changed = await call("PUT", path, json={"galleries": {"add": ["guests", "staff"], "del": ["default"]}})
    assert changed["galleries"] == ["guests", "staff"]
    changed = await call("PUT", path, json={"galleries": {"set": ["default", "staff"]}, "meta": "Sam"})
    assert (sorted(changed["galleries"]), changed["meta"]) == (["default", "staff"], "Sam")
    await call("PUT", path, 404, json={"galleries": {"add": ["nowhere"]}})
    assert [found["id"] for found in (await call("GET", "/v1/faces/gallery/staff"))["results"]] == [
        face["id"]
    ]
    (count,) = (await call("GET", "/v1/meta/gallery/staff"))["results"]
    assert (count["meta"], count["count"], count["face"]["id"]) == ("Sam", 1, face["id"])
    assert len((await call("GET", "/v1/face/meta/Sam/"))["results"]) == 1
    await call("DELETE", "/v1/galleries/staff", 204)
    assert (await call("GET", path))["galleries"] == ["default"]
    await call("DELETE", path, 204)
    await call("GET", path, 404)
    await call("GET", face["photo"], 404)


async def test_lists_are_paged_in_both_directions(call: Client, ctx: Context, user: User) -> None:
    """Every face once, the latest first; back again along prev_page."""
    ids = [(await stored(ctx, user, person_facen(number), ["default"]))["_id"] for number in range(230)]
    seen: list[int] = []
    path: str | None = "/v1/faces"
    pages = []
    while path:
        page = await call("GET", path)
        pages.append([face["id"] for face in page["results"]])
        seen += pages[-1]
        path = page["next_page"]
    assert seen == sorted(ids, reverse=True)
    back = page["prev_page"]
    for expected in reversed(pages[:-1]):
        page = await call("GET", back)
        assert [face["id"] for face in page["results"]] == expected
        back = page["prev_page"]
    assert back is None


async def test_a_camera_face_gets_a_person_with_a_history(call: Client, group: bytes) -> None:
    """The same person comes back; the history has both faces and can be searched."""
    boxes = await faces_of(call, group)
    camera = {"url": "rtsp://192.0.2.7/s", "id": "door", "enabled": False, "meta": "front"}
    made = await call("POST", "/v1/camera", 201, json=camera)
    assert (made["id"], made["enabled"], made["meta"]) == ("door", False, "front")
    people = []
    for box in (boxes[0], boxes[0], boxes[1]):
        data = {"cam_id": "door"}
        (face,) = (await call("POST", "/v1/face", files={"photo": cut(group, box)}, data=data))["results"]
        people.append(face["person_id"])
    assert people[0] == people[1] != people[2]
    person = await call("GET", f"/v1/person/id/{people[0]}")
    assert person == {"id": people[0], "meta": ""}
    history = await call("GET", f"/v1/person/history/id/{people[0]}/?cam_ids=door,yard")
    assert [entry["person_id"] for entry in history["results"]] == [people[0]] * 2
    assert set(history["results"][0]) == {"person_id", "face_id", "cam_id", "meta", "screenshot", "timestamp"}
    found = await call("POST", "/v1/history/search", json={"cam_ids": ["door"], "limit": 2})
    assert len(found["results"]) == 2
    rest = await call("POST", found["next_page"], json={"cam_ids": ["door"], "limit": 2})
    assert len(rest["results"]) == 1 and rest["next_page"] is None
    none = await call("POST", "/v1/history/search", json={"friend": True, "start": "2026-01-01T00:00:00Z"})
    assert none["results"] == []


async def test_cameras_are_kept(call: Client) -> None:
    """Added, changed, listed and removed; what the daemon cannot use is refused by name."""
    made = await call("POST", "/v0/camera/", 201, json={"url": "rtsp://192.0.2.7/s", "rot": [0, 0, 10, 10]})
    path = f"/v0/camera/{made['id']}"
    assert (await call("PUT", path, json={"enabled": False}))["enabled"] is False
    assert [camera["id"] for camera in (await call("GET", "/v0/camera"))["results"]] == [made["id"]]
    refused = await call("POST", "/v0/camera", 400, json={"url": "rtsp://me:secret@192.0.2.7/s"})
    assert refused["code"] == "BAD_PARAM" and "secret@" not in json.dumps(refused)
    await call("DELETE", path, 204)
    await call("GET", path, 404)


WRONG: list[tuple[str, str, dict[str, Any], int, str, str | None]] = [
    ("POST", "/v1/detect", {"content": b"{"}, 400, "MALFORMED_JSON", None),
    ("POST", "/v1/detect", {"content": b"[1]"}, 400, "MALFORMED_JSON", None),
    ("POST", "/v1/detect", {}, 400, "BAD_PARAM", "photo"),
    ("POST", "/v1/detect", {"json": {"photo": "http://127.0.0.1/x.jpg"}}, 400, "BAD_PARAM", "photo"),
    ("POST", "/v1/detect", {"files": {"photo": b"no picture"}}, 400, "BAD_PARAM", "photo"),
    ("POST", "/v1/identify?threshold=2", {}, 400, "BAD_PARAM", "threshold"),
    ("POST", "/v1/identify?n=0", {}, 400, "BAD_PARAM", "n"),
    ("POST", "/v1/identify?x1=5", {}, 400, "BAD_PARAM", "bbox"),
    ("POST", "/v1/face?galleries=a%20b", {}, 400, "BAD_PARAM", "galleries"),
    ("GET", "/v1/faces?max_id=many", {}, 400, "BAD_PARAM", "max_id"),
    ("GET", "/v1/faces/gallery/nowhere", {}, 404, "NOT_FOUND", None),
    ("GET", "/v1/face/id/99999999999999999999", {}, 400, "BAD_PARAM", "id"),
    ("GET", "/v1/face/id/7", {}, 404, "NOT_FOUND", None),
    ("POST", "/v1/galleries/a%20b", {}, 400, "BAD_PARAM", "gallery"),
    ("DELETE", "/v1/galleries/default", {}, 400, "BAD_PARAM", "gallery"),
    ("POST", "/v1/camera", {"json": {"url": 7}}, 400, "BAD_PARAM", "url"),
    ("GET", "/v1/person/history/id/1?start=soon", {}, 404, "NOT_FOUND", None),
    ("POST", "/v1/history/search", {"json": {"start": "soon"}}, 400, "BAD_PARAM", "start"),
    ("PUT", "/v1/faces", {}, 405, "METHOD_NOT_ALLOWED", None),
    ("GET", "/v1/nothing/here", {}, 404, "NOT_FOUND", None),
]


async def test_what_is_wrong_is_named(call: Client, ctx: Context, user: User) -> None:
    """Each error has a status, a code and a reason; a parameter is named with its value."""
    await ctx.galleries.ensure(user, "default")
    for method, path, given, status, code, param in WRONG:
        refused = await call(method, path, status, **given)
        assert (refused["code"], refused.get("param")) == (code, param), path
        assert refused["reason"]


async def test_a_token_is_required_and_opens_only_its_own(
    served: httpx.AsyncClient, call: Client, ctx: Context, group: bytes
) -> None:
    """No token, an unknown one, and another user's: nothing of this user's is seen."""
    (face,) = (await call("POST", "/v1/face?mf_selector=biggest", files={"photo": group}))["results"]
    for headers in ({}, {"Authorization": "Token nobody's"}, {"Authorization": "Bearer a client's token"}):
        answer = await served.get("/v1/faces", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "AUTH_FAILED")
    other = Client(served, (await ctx.users.add({"token": "another token"}))["token"])
    assert (await other("GET", "/v1/faces"))["results"] == []
    for path in (f"/v1/face/id/{face['id']}", face["photo"]):
        await other("GET", path, 404)
    await other("DELETE", f"/v1/face/id/{face['id']}", 404)
    assert (await call("GET", f"/v1/face/id/{face['id']}"))["id"] == face["id"]
