"""All faces of a user."""

from collections.abc import AsyncIterator

from store.collections.users import UserArgument
from store.context import Context
from store.face import Face

PAGE = 500


async def all_faces(ctx: Context, user: UserArgument) -> AsyncIterator[Face]:
    """Every face, by ascending id, which grows with time; in constant memory, and no cursor can expire."""
    last = -1
    while page := await ctx.faces.find(user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=PAGE):
        for face in page:
            yield face
        last = page[-1]["_id"]
