"""Numbers and dates of galleries."""

import pytest

from store import Context, User
from store.errors import NotFoundError
from store.observer import UnobservedStore
from store.queries.faces import all_faces
from store.queries.galleries import gallery_dates, gallery_summary, list_galleries
from store.spool.recording import Recording
from tests.sightings import RECORDING, sighting


async def test_galleries_count_their_faces_and_persons(ctx: Context, user: User) -> None:
    """Those of the user alone, by name; a person counts once however many faces they have."""
    recording = Recording(ctx, user, RECORDING, UnobservedStore())
    seen = [sighting(1), sighting(1, 1), sighting(2, 2)]
    for number, one in enumerate(seen):
        await recording.record(f"s{number}", one)
    stranger = await ctx.users.add({})
    await ctx.galleries.add(stranger, "theirs")
    await ctx.galleries.add(user, "empty")
    found = {one.name: (one.faces, one.persons) for one in await list_galleries(ctx, user)}
    assert found["default"] == (3, 2)
    assert found["empty"] == (0, 0)
    assert "theirs" not in found
    assert list(found) == sorted(found)
    dates = await gallery_dates(ctx, user, "default")
    assert (dates.first_face, dates.last_face) == tuple(
        one.captured_at.replace(microsecond=123000) for one in (seen[0], seen[2])
    )
    assert (await gallery_dates(ctx, user, "empty")).first_face is None
    with pytest.raises(NotFoundError, match="no gallery theirs"):
        await gallery_summary(ctx, user, "theirs")
    assert [face["cam_id"] async for face in all_faces(ctx, user)] == ["door"] * 3
    assert [face async for face in all_faces(ctx, stranger)] == []
