"""Slow queries are ended, and do not block others."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipeline.faces.facen import encode
from store import BadFilterError, Context, QueryTimeoutError, User
from store.mongo.query_limits import for_client
from tests.facens import extraction_face, person_facen, stored
from tests.mongo import StoreArguments

FOR_EVER: dict[str, Any] = {"note": {"$regex": "(a+)+$"}}
"""Takes exponential time on a text such as `NOTE`; MongoDB gives up on each after some 0.1 s."""
NOTE = "a" * 45 + "!"
SECONDS = 0.5


@pytest.fixture
async def hasty(store_settings: StoreArguments) -> Any:
    """A context with a short time limit."""
    settings = store_settings.settings.model_copy(update={"query_timeout_seconds": SECONDS})
    async with Context.open(settings, store_settings.persons, data_dir=store_settings.data_dir) as ctx:
        yield ctx


@pytest.fixture
async def owner(hasty: Context) -> User:
    """A user with a face in `default` and 2,000 documents of each kind that are slow to match."""
    user = await hasty.users.add({})
    await stored(hasty, user, person_facen(1), ["default"])
    fields = {"owner": user["_id"], "note": NOTE, "gallery": ["default"], "schema": 1}
    fields |= {"facen": encode(person_facen(2)), "person_id": 1}
    for name in ("faces", "persons"):
        slow = [{"_id": number, **fields} for number in range(1, 2001)]
        await hasty.database[name].insert_many(slow)
    return user


async def test_every_method_ends_a_slow_query(hasty: Context, owner: User) -> None:
    """Find, count, remove, update and identify raise QueryTimeoutError; nothing is changed, and MongoDB
    counts as available."""
    face = extraction_face(person_facen(1))
    change = {"$set": {"x": 1}}
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: hasty.persons.find(owner, FOR_EVER),
        lambda: hasty.persons.find(owner, {"note": re.compile("(a+)+$")}),
        lambda: hasty.persons.find(owner, {"note": {"$not": re.compile("(a+)+$")}}, skip=1999),
        lambda: hasty.persons.find(owner, {"note": {"$in": [re.compile("(a+)+$")]}}),
        lambda: hasty.persons.find_one(owner, FOR_EVER),
        lambda: hasty.persons.count(owner, {"$or": [FOR_EVER, {"a": 1}]}),
        lambda: hasty.persons.remove_one(owner, FOR_EVER),
        lambda: hasty.persons.update_one(owner, FOR_EVER, change),
        lambda: hasty.persons.update_many(owner, FOR_EVER, change),
        lambda: hasty.faces.remove_one(owner, FOR_EVER),
        lambda: hasty.faces.identify(owner, "default", face, 1, 0.5, FOR_EVER),
        lambda: hasty.persons.identify(owner, face, "default", 0.5, True, FOR_EVER),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(QueryTimeoutError):
            pytest.fail(f"call {number} gave {await call()!r:.200}")
    assert await hasty.persons.count(owner, {"x": 1}) == 0
    assert await hasty.persons.count(owner, None) == 2000
    await hasty.ping(5)


async def test_slow_queries_do_not_block_others(hasty: Context, owner: User) -> None:
    """Sixty concurrent ones end with an error, while ordinary queries and the health check succeed."""
    slow = [asyncio.create_task(hasty.persons.count(owner, FOR_EVER)) for _ in range(60)]
    answered = 0
    while not all(task.done() for task in slow):
        assert await hasty.persons.find_one(owner, {"_id": 7}) is not None
        await hasty.ping(5)
        answered += 1
        await asyncio.sleep(0.01)
    assert answered > 1
    for task in slow:
        assert isinstance(task.exception(), QueryTimeoutError)


async def test_a_client_gets_a_limited_number_of_documents(hasty: Context, owner: User) -> None:
    """Above the limit the error has the remedy; with a limit of its own the client can page; others get
    all."""
    assert len(await hasty.persons.find(owner, None)) == 2000
    with for_client(100):
        with pytest.raises(BadFilterError, match="more than 100 documents"):
            await hasty.persons.find(owner, None)
        with pytest.raises(BadFilterError, match="more than 100 documents"):
            await hasty.persons.update_many(owner, None, {"$set": {"x": 1}})
        assert len(await hasty.persons.find(owner, None, limit=100)) == 100
        assert len(await hasty.persons.find(owner, {"_id": {"$lte": 100}})) == 100
        assert await hasty.persons.count(owner, None) == 2000
    assert await hasty.persons.count(owner, {"x": 1}) == 0


async def test_a_search_for_a_client_has_the_same_limit(hasty: Context, user: User) -> None:
    """A larger `limit` is accepted if fewer faces are found."""
    user = await hasty.users.add({})
    for number in range(3):
        await stored(hasty, user, person_facen(number), ["default"])
    face = extraction_face(person_facen(0))
    with for_client(3):
        assert len(await hasty.faces.identify(user, "default", face, 2**31 - 1, 0.0)) == 3
    with for_client(2), pytest.raises(BadFilterError, match="more than 2 documents"):
        await hasty.faces.identify(user, "default", face, 2**31 - 1, 0.0)


@pytest.mark.parametrize(
    "filters",
    [
        {"$or": [{"a": 1}] * 1001},
        {"a": {"$all": [1] * 1001}},
        {"a": {"$in": list(range(100_001))}},
        {"a": {"$regex": "a" * 4097}},
        {"a": re.compile("a" * 4097)},
        {"a": {"$not": re.compile("a" * 4097)}},
    ],
    ids=["or", "all", "in", "regex", "pattern", "not"],
)
async def test_filters_have_a_maximum_size(ctx: Context, user: User, filters: Any) -> None:
    """Larger ones are refused before they reach MongoDB."""
    with pytest.raises(BadFilterError, match=r"limit is|at most"):
        await ctx.persons.find(user, filters)
