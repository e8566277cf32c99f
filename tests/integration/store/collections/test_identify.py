"""The search for faces that resemble a face."""

from collections.abc import Iterable
from typing import Any

import pytest
from bson import ObjectId

from pipeline.types import Facen
from store import (
    BadFilterError,
    BadValueError,
    Context,
    FacenStorageError,
    GalleryError,
    IdentifyResult,
    NotFoundError,
    User,
)
from store.facens import FacenSearch, LocalFacens
from store.recognition import nearest
from tests.facens import extraction_face, face, like, person_facen, stored
from tests.mongo import StoreArguments


async def test_returns_similar_faces_best_first(ctx: Context, user: User) -> None:
    """Face objects with their confidence, (1 + cosine) / 2, down to the threshold."""
    wanted = person_facen(0)
    near = [await stored(ctx, user, like(wanted, cosine, 1), ["g"]) for cosine in (0.6, 0.9, 0.2)]
    results = await ctx.faces.identify(user, "g", extraction_face(wanted), 10, 0.7)
    assert [result.face for result in results] == [near[1], near[0]]
    assert isinstance(results[0], IdentifyResult)
    assert [result.confidence for result in results] == pytest.approx([0.95, 0.8], abs=1e-5)
    assert results.live_server is None
    assert results.total_servers is None
    assert len(await ctx.faces.identify(user, "g", face(wanted), 1, 0.0)) == 1


async def test_filters_apply_before_the_limit(ctx: Context, user: User) -> None:
    """The best faces that pass the filter are returned, not the rest of the best faces."""
    wanted = person_facen(0)
    for number in range(40):
        await stored(ctx, user, like(wanted, 0.95 - number / 100, number), ["g"], score=-float(number))
    results = await ctx.faces.identify(user, "g", face(wanted), 3, 0.0, filters={"score": {"$lte": -30}})
    assert [result.face["score"] for result in results] == [-30, -31, -32]
    assert await ctx.faces.identify(user, "g", face(wanted), 3, 0.0, filters={"score": 5}) == []
    assert await ctx.faces.identify(user, "g", face(wanted), 3, 0.0, filters={"owner": ObjectId()}) == []


async def test_reads_many_faces_in_batches(ctx: Context, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """More ids than fit into one query to MongoDB are read completely."""
    monkeypatch.setattr(nearest, "IDS_PER_QUERY", 2)
    wanted = person_facen(0)
    made = [await stored(ctx, user, like(wanted, 0.9 - number / 10), ["g"]) for number in range(5)]
    results = await ctx.faces.identify(user, "g", face(wanted), 100, 0.0)
    assert [result.face["_id"] for result in results] == [one["_id"] for one in made]


async def test_several_galleries_are_searched_as_one(ctx: Context, user: User) -> None:
    """A face in two of them is returned once."""
    wanted = person_facen(0)
    both = await stored(ctx, user, like(wanted, 0.9), ["a", "b"])
    second = await stored(ctx, user, like(wanted, 0.8), ["b"])
    await stored(ctx, user, like(wanted, 0.95), ["c"])
    results = await ctx.faces.identify(user, ["a", "b"], face(wanted), 5, 0.5)
    assert [result.face["_id"] for result in results] == [both["_id"], second["_id"]]


async def test_searches_only_the_users_own_faces(ctx: Context, user: User) -> None:
    """A gallery of the same name of another user is not searched."""
    other = await ctx.users.add({})
    await stored(ctx, other, person_facen(0), ["g"])
    await ctx.galleries.add(user, "g")
    assert await ctx.faces.identify(user, "g", face(person_facen(0)), 5, 0.0) == []


async def test_skips_entries_without_a_face(ctx: Context, user: User) -> None:
    """Stale entries of the storage do not displace existing faces."""
    wanted = person_facen(0)
    for number in range(10):
        await ctx.galleries.ensure(user, "g")
        await ctx.facens.add(user["_id"], "g", number, wanted)
    real = await stored(ctx, user, like(wanted, 0.9), ["g"])
    results = await ctx.faces.identify(user, "g", face(wanted), 1, 0.5)
    assert [result.face["_id"] for result in results] == [real["_id"]]


class OneShardOut(LocalFacens):
    """Two shards, of which the second is out of service."""

    async def search(
        self,
        owner: ObjectId,
        gallery: str,
        facen: Facen,
        limit: int,
        threshold: float,
        allowed: Iterable[int] | None = None,
        ignore_errors: bool = False,
    ) -> FacenSearch:
        if not ignore_errors:
            raise FacenStorageError("shard 2 at host:33002 does not answer", "shard 2")
        found = await super().search(owner, gallery, facen, limit, threshold, allowed)
        return FacenSearch(found.hits, 1, 2)


async def test_a_shard_that_is_down_is_an_error_or_counted(store_settings: StoreArguments) -> None:
    """Without ignore_errors the error names it; with it the results have the numbers of servers."""
    async with store_settings.open(facens=OneShardOut()) as ctx:
        user = await ctx.users.add({})
        await stored(ctx, user, person_facen(0), ["g"])
        with pytest.raises(FacenStorageError) as caught:
            await ctx.faces.identify(user, "g", face(person_facen(0)), 1, 0.5)
        assert caught.value.shard == "shard 2"
        results = await ctx.faces.identify(user, "g", face(person_facen(0)), 1, 0.5, ignore_errors=True)
        assert (results.live_server, results.live_servers, results.total_servers, len(results)) == (
            1,
            1,
            2,
            1,
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"gallery": "nowhere"}, NotFoundError),
        ({"gallery": "bad name"}, GalleryError),
        ({"gallery": []}, GalleryError),
        ({"face": {"facen": "x"}}, BadValueError),
        ({"face": {}}, BadValueError),
        ({"face": None}, BadValueError),
        ({"limit": 0}, BadValueError),
        ({"limit": None}, BadValueError),
        ({"limit": 10**12}, BadValueError),
        ({"limit": "5"}, BadValueError),
        ({"threshold": 1.5}, BadValueError),
        ({"threshold": float("nan")}, BadValueError),
        ({"filters": {"$where": "1"}}, BadFilterError),
        ({"filters": 5}, BadFilterError),
    ],
)
async def test_refuses_invalid_arguments(
    ctx: Context, user: User, change: dict[str, Any], error: type[Exception]
) -> None:
    """Each with its documented error."""
    question: dict[str, Any] = {
        "gallery": "default",
        "face": face(person_facen(0)),
        "limit": 1,
        "threshold": 0.5,
    }
    with pytest.raises(error):
        await ctx.faces.identify(user, **(question | change))
