"""`Persons`: identification, creation and friends."""

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from store import BadValueError, ConflictError, Context, Face, NotFoundError, User
from store.collections.friends import FriendRule
from tests.facens import extraction_face, face, like, person_facen, stored
from tests.mongo import StoreArguments


@pytest.fixture
async def user(ctx: Context) -> User:
    made = await ctx.users.add({})
    await ctx.galleries.add(made, "cam_a")
    return made


async def test_returns_the_person_of_the_most_similar_face(ctx: Context, user: User) -> None:
    """Faces without a person are skipped, whatever their number and confidence."""
    wanted = person_facen(0)
    for number in range(20):
        await stored(ctx, user, like(wanted, 0.99, number), ["cam_a"])
    await stored(ctx, user, like(wanted, 0.9), ["cam_a"], person_id=7)
    await stored(ctx, user, like(wanted, 0.8), ["cam_a"], person_id=8)
    assert await ctx.persons.identify(user, extraction_face(wanted), "cam_a", 0.8) == 7
    match = await ctx.persons.resolve(user, face(wanted), "cam_a", 0.8)
    assert (match.person_id, match.created) == (7, False)
    assert match.confidence == pytest.approx(0.95, abs=1e-5)


async def test_returns_none_without_a_similar_person(ctx: Context, user: User) -> None:
    """`resolve` also returns the confidence of the nearest person."""
    await stored(ctx, user, like(person_facen(0), 0.5), ["cam_a"], person_id=7)
    match = await ctx.persons.resolve(user, face(person_facen(0)), "cam_a", 0.9)
    assert match.person_id is None
    assert match.confidence == pytest.approx(0.75, abs=1e-5)
    assert await ctx.persons.identify(user, face(person_facen(0)), "cam_a", 0.9) is None
    assert await ctx.persons.count(user, None) == 0


async def test_a_created_person_is_found_at_once(ctx: Context, user: User) -> None:
    """Also before its first face is in the gallery."""
    first = await ctx.persons.resolve(user, face(person_facen(0)), "cam_a", 0.8, create=True)
    assert first.created
    again = await ctx.persons.resolve(user, face(like(person_facen(0), 0.9)), "cam_a", 0.8, create=True)
    assert (again.person_id, again.created) == (first.person_id, False)
    other = await ctx.persons.resolve(user, face(person_facen(1)), "cam_a", 0.8, create=True)
    assert other.created
    assert other.person_id != first.person_id
    assert {person["_id"] for person in await ctx.persons.find(user, None)} == {
        first.person_id,
        other.person_id,
    }


async def test_several_galleries_return_several_persons(ctx: Context, user: User) -> None:
    """Each person once, best first; `create` creates one person."""
    wanted = person_facen(0)
    await stored(ctx, user, like(wanted, 0.8), ["cam_a"], person_id=1)
    await stored(ctx, user, like(wanted, 0.9), ["cam_b"], person_id=2)
    await stored(ctx, user, like(wanted, 0.7), ["cam_c"], person_id=1)
    assert await ctx.persons.identify(user, face(wanted), ["cam_a", "cam_b", "cam_c"], 0.8) == [2, 1]
    assert await ctx.persons.identify(user, face(person_facen(1)), ["cam_a", "cam_b"], 0.8) == []
    (new,) = (
        await ctx.persons.identify(user, face(person_facen(1)), ["cam_a", "cam_b"], 0.8, create=True) or []
    )  # type: ignore[misc]  # a list for a list
    assert await ctx.persons.identify(user, face(person_facen(1)), "cam_b", 0.8, create=True) == new


async def test_filters_limit_the_compared_faces(ctx: Context, user: User) -> None:
    """The best match among the filtered faces; the same filtered call creates one person."""
    wanted = person_facen(0)
    await stored(ctx, user, like(wanted, 0.95), ["cam_a"], person_id=101, meta="x")
    await stored(ctx, user, like(wanted, 0.85), ["cam_a"], person_id=102, meta="y")
    assert await ctx.persons.identify(user, face(wanted), "cam_a", 0.8, filters={"meta": "y"}) == 102
    made = [
        await ctx.persons.identify(user, face(wanted), "cam_a", 0.8, create=True, filters={"meta": "z"})
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert made[0] not in (101, 102, None)


async def test_concurrent_calls_create_one_person(ctx: Context, user: User) -> None:
    """All fifty get the same id, and one of them is told that it was created."""
    matches = await asyncio.gather(
        *(
            ctx.persons.resolve(user, face(like(person_facen(0), 0.97, number)), "cam_a", 0.9, create=True)
            for number in range(50)
        )
    )
    assert len({match.person_id for match in matches}) == 1
    assert sum(match.created for match in matches) == 1
    assert await ctx.persons.count(user, None) == 1


ASK = """
import asyncio, sys
from pathlib import Path
import structlog
from pydantic import SecretStr
from bson import ObjectId
from store import Context, StoreSettings
from tests.facens import face, like, person_facen

# Standard output is for the answers; a warning of the store in between would be taken for one.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main(url, database, folder, owner):
    settings = StoreSettings(url=SecretStr(url), database=database)
    async with Context.open(settings, data_dir=Path(folder)) as ctx:
        print("open", flush=True)
        sys.stdin.readline()
        for person in range(5):
            ids = await asyncio.gather(*(
                ctx.persons.identify(
                    ObjectId(owner), face(like(person_facen(person), 0.97, number)), "cam_a", 0.9, True
                )
                for number in range(10)
            ))
            print(*set(ids), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_create_one_person(
    store_settings: StoreArguments, ctx: Context, user: User
) -> None:
    """For the same five new faces at the same time: five persons, with the same ids in both."""
    command = [
        *(
            sys.executable,
            "-c",
            ASK,
            store_settings.settings.url.get_secret_value(),
            store_settings.settings.database,
        ),
        *(str(store_settings.data_dir), str(user["_id"])),
    ]
    pipe = asyncio.subprocess.PIPE
    root = Path(__file__).parents[4]
    asking = [
        await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=root, env={"PYTHONPATH": str(root)}
        )
        for _ in range(2)
    ]
    for process in asking:
        assert process.stdout
        assert (await process.stdout.readline()) == b"open\n"
    answers = await asyncio.gather(*(process.communicate(b"\n") for process in asking))
    for process, (_, said) in zip(asking, answers, strict=True):
        assert process.returncode == 0, said.decode()
    first, second = (answer.decode().split() for answer, _ in answers)
    assert first == second
    assert len(first) == len(set(first)) == 5
    assert await ctx.persons.count(user, None) == 5


async def test_finds_a_person_created_by_another_process(
    store_settings: StoreArguments,
) -> None:
    """A face added through another context after this one opened prevents a second person."""
    async with store_settings.open() as ours, store_settings.open() as theirs:
        user = await ours.users.add({})
        await stored(theirs, user, person_facen(0), ["cam_a"], person_id=41)
        match = await ours.persons.resolve(user, face(person_facen(0)), "cam_a", 0.8, create=True)
        assert (match.person_id, match.created) == (41, False)


async def test_a_replayed_sighting_creates_one_person(ctx: Context, user: User) -> None:
    """The second attempt has the same result, even if the face is no longer similar."""
    first = await ctx.persons.resolve(
        user, face(person_facen(0), sighting_id="s1"), "cam_a", 0.8, create=True
    )
    again = await ctx.persons.resolve(
        user, face(person_facen(5), sighting_id="s1"), "cam_a", 0.8, create=True
    )
    assert (again.person_id, again.created) == (first.person_id, True)
    with pytest.raises(ConflictError):
        await ctx.persons.add(user, {"sighting_id": "s1"})
    assert await ctx.persons.count(user, None) == 1


async def test_a_person_is_added_with_the_next_or_its_own_id(ctx: Context, user: User) -> None:
    """A given id in use is a conflict; a generated one is skipped."""
    first = await ctx.persons.add(user, {"name": "Ann"})
    assert await ctx.persons.find_one(user, {"_id": first["_id"]}) == first
    await ctx.persons.add(user, {"_id": first["_id"] + 1})
    with pytest.raises(ConflictError):
        await ctx.persons.add(user, {"_id": first["_id"]})
    third = await ctx.persons.add(user, {})
    assert third["_id"] == first["_id"] + 2


async def test_a_removed_person_is_not_found(ctx: Context, user: User) -> None:
    """The faces are kept without a person."""
    person = await ctx.persons.add(user, {})
    await stored(ctx, user, person_facen(0), ["cam_a"], person_id=person["_id"])
    await ctx.persons.remove_one(user, {"_id": person["_id"]})
    assert await ctx.persons.identify(user, face(person_facen(0)), "cam_a", 0.8) is None
    assert await ctx.faces.count(user, None) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"gallery": "nowhere"}, NotFoundError),
        ({"gallery": 5}, BadValueError),
        ({"threshold": 2}, BadValueError),
        ({"face": {}}, BadValueError),
        ({"filters": {"$where": "1"}}, BadValueError),
    ],
)
async def test_invalid_arguments_create_nobody(
    ctx: Context, user: User, change: dict[str, Any], error: type[Exception]
) -> None:
    """They are an error."""
    question: dict[str, Any] = {
        "face": face(person_facen(0)),
        "gallery": "cam_a",
        "threshold": 0.8,
        "create": True,
    }
    with pytest.raises(error):
        await ctx.persons.identify(user, **(question | change))
    assert await ctx.persons.count(user, None) == 0


async def seen(ctx: Context, user: User, moments: list[datetime], cam_id: str = "a") -> None:
    for moment in moments:
        made: Face = face(person_facen(0), person_id=1, cam_id=cam_id, timestamp=moment)
        await ctx.faces.add(user, made)


def at(ctx: Context, moment: str, zone: str) -> None:
    """Puts the site into a zone and the clock to a moment there."""
    ctx.persons._friends = FriendRule(5, 7, ZoneInfo(zone))
    ctx.persons._now = lambda: datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))


async def test_five_days_of_seven_make_a_friend(ctx: Context, user: User) -> None:
    """Different days count; several visits a day, the week before and other cameras do not."""
    at(ctx, "2026-03-10T12:00", "Europe/Berlin")
    today = datetime(2026, 3, 10, 9, tzinfo=UTC)
    await seen(ctx, user, [today - timedelta(days=back) for back in (0, 1, 2, 3)])
    await seen(ctx, user, [today + timedelta(minutes=minute) for minute in range(5)])
    await seen(ctx, user, [today - timedelta(days=7)])
    await seen(ctx, user, [today - timedelta(days=5)], cam_id="b")
    assert not await ctx.persons.is_friend(user, 1, "a")
    await seen(ctx, user, [today - timedelta(days=6)])
    assert await ctx.persons.is_friend(user, 1, "a")
    assert await ctx.persons.friend_days(user, 1, "a") == [date(2026, 3, day) for day in (4, 7, 8, 9, 10)]
    assert not await ctx.persons.is_friend(user, 1, "b")
    assert not await ctx.persons.is_friend(user, 2, "a")
    assert not await ctx.persons.is_friend(user, None, "a")
    assert not await ctx.persons.is_friend(await ctx.users.add({}), 1, "a")


async def test_days_are_in_the_sites_time_zone(ctx: Context, user: User) -> None:
    """Two visits around local midnight are on two days, though on one in UTC."""
    moments = [datetime.fromisoformat("2026-03-10T14:30:00Z"), datetime.fromisoformat("2026-03-10T15:30:00Z")]
    await seen(ctx, user, moments)
    at(ctx, "2026-03-11T12:00", "Asia/Tokyo")
    assert len(await ctx.persons.friend_days(user, 1, "a")) == 2
    at(ctx, "2026-03-10T12:00", "America/New_York")
    assert len(await ctx.persons.friend_days(user, 1, "a")) == 1


@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("Europe/Berlin", "2026-03-31T12:00"),  # forward on the 29th
        ("Europe/Berlin", "2026-10-27T12:00"),  # back on the 25th
        ("America/Havana", "2026-03-10T12:00"),  # forward on the 8th, at midnight: that day has none
    ],
)
async def test_days_are_correct_when_clocks_change(ctx: Context, user: User, zone: str, now: str) -> None:
    """Just after each local midnight and just before the next is the same day, seven times in a row."""
    at(ctx, now, zone)
    here, today = ZoneInfo(zone), datetime.fromisoformat(now).date()
    days = [today - timedelta(days=back) for back in range(6, -1, -1)]
    for day in days[:-1]:
        await seen(
            ctx, user, [datetime(day.year, day.month, day.day, hour, 30, tzinfo=here) for hour in (1, 23)]
        )
    assert await ctx.persons.friend_days(user, 1, "a") == days[:-1]
