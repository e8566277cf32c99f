"""docs/plugins/friends_only.py: cases in which the door must stay closed."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.faces.facen import normalise
from store import Context, StoreUnavailableError, User
from store.mongo.ids import first_id_of
from store.spool.spool import Spool
from tests.plugins import EXAMPLES, Site, site
from tests.sightings import person_facen, sighting

FRIEND, SECOND_FRIEND, STRANGER = 1, 2, 9
SECONDS = 60


@dataclass
class Door:
    """A door with a friend, seen on five days, who is not present now."""

    running: Site
    ctx: Context
    user: User
    spool: Spool

    async def record(self, person: int, look: int = 50, **given: Any) -> None:
        """Record a sighting of the person, by default of now."""
        given.setdefault("captured_at", datetime.now(UTC))
        self.spool.put(sighting(person, look, **given))
        await self.running.record(self.ctx, self.user, self.spool)

    async def was_seen(self, person: int, cam_id: str = "door") -> None:
        now = datetime.now(UTC)
        for days in range(5, 0, -1):
            await self.record(person, days, cam_id=cam_id, captured_at=now - timedelta(days=days))

    async def answer(self, by: User | None = None) -> dict[str, Any]:
        response = await self.running.ask("GET", "/access/door", by or self.user)
        assert response.status_code == 200
        return dict(response.json())

    async def is_closed(self, why: str) -> bool:
        answer = await self.answer()
        assert why in answer["why"]
        return answer["open"] is False


@pytest.fixture
async def door(ctx: Context, user: User, spool: Spool) -> AsyncIterator[Door]:
    options = {"friends_only": {"cameras": ["door"], "seconds": SECONDS}}
    async with site(ctx, user, EXAMPLES, enabled=("friends_only",), options=options) as running:
        made = Door(running, ctx, user, spool)
        await made.was_seen(FRIEND)
        yield made


async def test_a_friend_alone_gets_in(door: Door) -> None:
    """Seen on enough days and present now; other users, other cameras and an empty scene do not open."""
    assert await door.is_closed("nobody is present")
    await door.record(FRIEND)
    answer = await door.answer()
    assert (answer["open"], answer["why"], len(answer["persons"])) == (True, "friends only", 1)
    assert (await door.answer(await door.ctx.users.add({})))["open"] is False
    unknown = await door.running.ask("GET", "/access/cellar", door.user)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "no_door")


async def stranger_behind(door: Door) -> str:
    await door.record(STRANGER)
    return "not a friend"


async def withheld_stranger_behind(door: Door) -> str:
    await door.record(STRANGER, shots=1)
    return "not recognised"


async def stranger_in_a_poor_picture(door: Door) -> str:
    await door.record(STRANGER, score=-4.0)
    return "not recognised"


async def ambiguous_face(door: Door) -> str:
    between = normalise(person_facen(FRIEND) * np.float32(0.55) + person_facen(STRANGER) * np.float32(0.83))
    await door.record(STRANGER, facen=between, score=-3.5)
    return "not recognised"


async def face_that_was_never_posted(door: Door) -> str:
    await door.record(FRIEND, 51, beside=("door-behind",))
    return "without a usable picture"


async def two_friends_and_a_stranger(door: Door) -> str:
    await door.was_seen(SECOND_FRIEND)
    await door.record(SECOND_FRIEND)
    assert (await door.answer())["open"] is True
    await door.record(STRANGER)
    return "not a friend"


async def friend_of_another_camera(door: Door) -> str:
    await door.was_seen(SECOND_FRIEND, "yard")
    await door.record(SECOND_FRIEND)
    return "not a friend"


async def picture_of_the_friend_beside_the_friend(door: Door) -> str:
    await door.record(FRIEND, 52, visit_id="picture")
    await door.record(FRIEND, 53, visit_id="real", beside=("picture",))
    return "not recognised|twice"


async def sighting_that_waits(door: Door) -> str:
    """The facen storage is down, so the second person is unknown."""
    handlers = door.running.plugins
    face = door.ctx.faces.wrap_in_model({"sighting_id": "0_waiting"})
    await handlers.admit("0_waiting", sighting(STRANGER, 54, captured_at=datetime.now(UTC)), face)
    return "not stored yet"


async def clock_set_back(door: Door) -> str:
    """Earlier faces have later ids than the clock allows now."""
    an_hour_later = first_id_of(int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000))
    face = await door.ctx.faces.find_one(door.user, {"cam_id": "door"})
    assert face is not None
    later = door.ctx.faces.wrap_in_model({**face, "_id": an_hour_later, "sighting_id": "later"})
    await door.ctx.faces.add(door.user, later)
    return "clock was set"


WAYS = [
    *(stranger_behind, withheld_stranger_behind, stranger_in_a_poor_picture, ambiguous_face),
    *(face_that_was_never_posted, two_friends_and_a_stranger, friend_of_another_camera),
    *(picture_of_the_friend_beside_the_friend, sighting_that_waits, clock_set_back),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_nobody_gets_in_behind_a_friend(door: Door, way: Callable[[Door], Any]) -> None:
    """The door opens for the friend alone, and not once another person is beside them."""
    await door.record(FRIEND)
    assert (await door.answer())["open"] is True
    reasons = await way(door)
    answer = await door.answer()
    assert answer["open"] is False
    assert any(reason in answer["why"] for reason in reasons.split("|")), answer


async def test_a_visit_of_the_past_opens_nothing(door: Door) -> None:
    """A visit longer ago than the maximum age does not count."""
    await door.record(FRIEND, captured_at=datetime.now(UTC) - timedelta(seconds=SECONDS + 1))
    assert await door.is_closed("nobody is present")


async def test_a_poor_picture_of_a_friend_opens_nothing(door: Door) -> None:
    """A poor picture can close the door, but not open it."""
    await door.record(FRIEND, score=-2.5)
    assert await door.is_closed("no recent good picture")


async def test_a_face_that_was_stored_late_opens_nothing(door: Door) -> None:
    """Captured recently by its timestamp, stored long after: from the spool, with a wrong clock."""
    plugin = example()
    await door.record(FRIEND)
    handler = handler_of(plugin, door)
    assert (await handler.get("door"))["open"] is True
    (face,) = await door.ctx.faces.find(
        door.user, {"cam_id": "door", "timestamp": {"$gte": datetime.now(UTC) - timedelta(seconds=SECONDS)}}
    )
    handler.seconds = 0.001 * ((face["_id"] >> 21) - int(face.timestamp.timestamp() * 1000) - 1)
    assert handler._stored_at_once(face) is False


async def test_a_store_that_does_not_answer_opens_nothing(door: Door) -> None:
    """The answer is closed, with the reason."""
    plugin = example()
    await door.record(FRIEND)
    handler = handler_of(plugin, door)

    class Away:
        async def find(self, *_: object) -> list[object]:
            raise StoreUnavailableError("MongoDB is away")

        count = find

    handler.ctx = type("Ctx", (), {"faces": Away()})()
    assert await handler.get("door") == {
        "open": False,
        "why": "the store does not answer: MongoDB is away",
        "persons": [],
    }


def test_after_a_step_the_clock_is_distrusted_for_the_length_of_the_step() -> None:
    """During that time an earlier sighting may appear to be recent."""
    wall, steady = [1000.0], [50.0]
    watch = example().Watch(lambda: wall[0], lambda: steady[0])
    assert watch.distrusts_clock(5) is False
    wall[0] -= 600
    assert watch.distrusts_clock(5) is True
    wall[0], steady[0] = wall[0] + 604, steady[0] + 604
    assert watch.distrusts_clock(5) is True
    wall[0], steady[0] = wall[0] + 2, steady[0] + 2
    assert watch.distrusts_clock(5) is False


def example() -> ModuleType:
    spec = spec_from_file_location("friends_only", EXAMPLES / "friends_only.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def handler_of(plugin: ModuleType, door: Door) -> Any:
    handler = plugin.AccessHandler.__new__(plugin.AccessHandler)
    handler.ctx, handler.user, handler.cameras, handler.seconds = door.ctx, door.user, ["door"], SECONDS
    return handler
