"""The examples in docs/plugins, as they stand there."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cameras.observer import CameraState
from daemon.events import BoxStarted, CameraStateChanged, VisitEnded
from pipeline.extractor import FaceExtractor
from store import Context, User
from store.spool.spool import Spool
from tests.faces import default_models, portrait, sample_path
from tests.mongo import StoreArguments
from tests.plugins import EXAMPLES, Site, site
from tests.sightings import FACEN_SIZE, START, sighting


@pytest.fixture
async def seeing(store_settings: StoreArguments) -> AsyncIterator[Context]:
    """A context that finds faces in pictures."""
    extractor = FaceExtractor(default_models(), max_pixels=4_000_000)
    async with store_settings.open(extractor=extractor, facen_size=FACEN_SIZE) as ctx:
        yield ctx


async def test_identify_says_who_is_in_a_posted_picture(seeing: Context) -> None:
    """Six people are enrolled from one picture; a crop of each is answered with that person first."""
    user = await seeing.users.add({})
    await seeing.galleries.add(user, "staff")
    enrolled = []
    for eface in await seeing.extractor.extract(sample_path()):
        face = await seeing.faces.add(user, seeing.faces.Model.from_extraction_face(eface))
        await seeing.faces.add_to_galleries(face, ["staff"])
        enrolled.append((face["x1"], face["_id"]))
    ids = [face_id for _, face_id in sorted(enrolled)]
    assert len(ids) == 6
    async with site(seeing, user, EXAMPLES, enabled=("identify",)) as running:
        for number in (0, 3):
            picture = cv2.imencode(".jpg", portrait(number, 150))[1].tobytes()
            answer = await running.ask("POST", "/identify?gallery=staff&limit=2", user, content=picture)
            assert answer.status_code == 200, answer.text
            best = max(answer.json()["faces"], key=lambda face: face["bbox"][2] - face["bbox"][0])
            assert best["results"][0]["id"] == ids[number]
            assert best["results"][0]["confidence"] > 0.9
        stranger = await running.ask("POST", "/identify?gallery=staff", user, content=_nobody())
        assert stranger.json() == {"faces": []}
        await _bad_requests_are_named(running, user)


async def _bad_requests_are_named(running: Site, user: User) -> None:
    picture = sample_path().read_bytes()
    for path, body, expected in (
        ("/identify", b"", (400, "bad_picture", "no bytes")),
        ("/identify", picture[:9000], (400, "bad_picture", "damaged")),
        ("/identify", _nobody(2100), (400, "bad_picture", "the limit is 4000000")),
        ("/identify?limit=0", picture, (400, "bad_argument", "from 1 to 100")),
        ("/identify?limit=²", picture, (400, "bad_argument", "from 1 to 100")),
        ("/identify?gallery=nowhere", picture, (404, "not_found", "nowhere")),
        ("/identify?gallery=a%20b", picture, (400, "bad_value", "gallery")),
    ):
        answer = await running.ask("POST", path, user, content=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == expected[:2], (path, answer.text)
        assert expected[2] in error["message"]


def _nobody(side: int = 300) -> bytes:
    return cv2.imencode(".png", np.full((side, side, 3), 128, np.uint8))[1].tobytes()


class Receiver:
    """A web server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 204
        receiver = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), json.loads(body)))
                self.send_response(receiver.status)
                if receiver.status == 302:
                    self.send_header("Location", receiver.url)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/unknown"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def test_the_webhook_tells_of_new_persons_alone(
    ctx: Context, user: User, spool: Spool, receiver: Receiver
) -> None:
    """One call a new person at the cameras that were named, none for people who are known already."""
    options = {"unknown_webhook": {"url": receiver.url, "token": "t-1", "cameras": ["door"]}}
    seen = [sighting(1), sighting(1, 1), sighting(2), sighting(3, cam_id="yard")]
    ids = [spool.put(one) for one in seen]
    async with site(ctx, user, EXAMPLES, enabled=("unknown_webhook",), options=options) as running:
        await running.record(ctx, user, spool)
        async with asyncio.timeout(10):
            while len(receiver.got) < 2:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    headers, first = receiver.got[0]
    assert headers["Authorization"] == "Bearer t-1"
    assert first["event"] == "unknown_person"
    assert (first["sighting_id"], first["camera"]) == (ids[0], "door")
    assert first["captured_at"] == seen[0].captured_at.isoformat()
    face = await ctx.faces.find_one(user, {"_id": first["face_id"]})
    assert face is not None
    assert (face["person_id"], face["thumbnail"]) == (first["person_id"], first["thumbnail"])
    assert [message["sighting_id"] for _, message in receiver.got] == [ids[0], ids[2]]


async def test_a_webhook_that_answers_with_an_error_is_named(
    ctx: Context, user: User, spool: Spool, receiver: Receiver
) -> None:
    """Storing continues, and /status shows the receiver's error; a plugin without its URL does not start."""
    receiver.status = 500
    spool.put(sighting(1))
    options = {"unknown_webhook": {"url": receiver.url}}
    async with site(ctx, user, EXAMPLES, enabled=("unknown_webhook",), options=options) as running:
        await running.record(ctx, user, spool)
        async with asyncio.timeout(10):
            while not running.plugins.status()[0].failures:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.02)
        status = (await running.status())["unknown_webhook"]
        assert "HTTP Error 500" in status["error"]
        assert running.counted("door", "stored") == 1
    async with site(ctx, user, EXAMPLES, enabled=("unknown_webhook",)) as running:
        status = (await running.status())["unknown_webhook"]
        assert (status["state"], "needs the option url" in status["error"]) == ("failed", True)


async def test_a_webhook_that_redirects_gets_no_token_elsewhere(
    ctx: Context, user: User, spool: Spool, receiver: Receiver
) -> None:
    """The redirect is an error of the receiver; nothing is sent to where it points."""
    receiver.status = 302
    spool.put(sighting(1))
    options = {"unknown_webhook": {"url": receiver.url, "token": "t-1"}}
    async with site(ctx, user, EXAMPLES, enabled=("unknown_webhook",), options=options) as running:
        await running.record(ctx, user, spool)
        async with asyncio.timeout(10):
            while not running.plugins.status()[0].failures:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.02)
        assert "302" in (await running.status())["unknown_webhook"]["error"]
    assert len(receiver.got) == 1


async def test_the_event_log_has_a_line_for_each_visit_and_camera_state(
    ctx: Context, user: User, spool: Spool, tmp_path: Path
) -> None:
    """Subscribed events of the chosen cameras, with their own time, in order; without a path it fails."""
    path = tmp_path / "events.jsonl"
    options = {"event_log": {"path": str(path), "cameras": ["door"]}}
    for seen in (sighting(1), sighting(2, cam_id="yard")):
        spool.put(seen)
    async with site(ctx, user, EXAMPLES, enabled=("event_log",), options=options) as running:
        running.events.publish(CameraStateChanged("door", CameraState.GREEN, ""))
        await running.record(ctx, user, spool)
        running.events.publish(BoxStarted())
        running.events.publish(
            VisitEnded("door", "door-1-0", START, usable=True, sighting_follows=False, at=START)
        )
        status = (await running.status())["event_log"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["camera.state", "visit.updated", "visit.ended"]
    assert lines[0]["state"] == "green"
    assert lines[1]["at"] == sighting(1).captured_at.isoformat()
    (person,) = [one for one in await ctx.persons.find(user, {}) if one["_id"] == lines[1]["person"]]
    assert (lines[1]["new"], person.get("name")) == (True, None)
    assert lines[2]["at"] == START.isoformat()
    assert (status["state"], status["failures"], status["lost"]) == ("active", 0, 0)
    async with site(ctx, user, EXAMPLES, enabled=("event_log",)) as running:
        assert "needs the option path" in (await running.status())["event_log"]["error"]
