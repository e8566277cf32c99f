"""All faces of a user."""

from collections.abc import AsyncIterator

from store.collections.users import UserArgument
from store.context import Context
from store.face import Face

PAGE = 500


async def all_faces(ctx: Context, user: UserArgument) -> AsyncIterator[Face]:
    """All faces by ascending id, that is by time, read in pages: memory is constant, and no cursor can
    expire."""
    last = -1
    while page := await ctx.faces.find(user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=PAGE):
        for face in page:
            yield face
        last = page[-1]["_id"]
