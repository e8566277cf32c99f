"""Of whom somebody has said that they are two."""

from store.collections.users import UserArgument
from store.context import Context
from store.identity.changes import CHANGES
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error


async def told_apart(ctx: Context, user: UserArgument) -> set[frozenset[int]]:
    """Pairs of persons, as they are numbered now: one was split off the other, or a merge of both undone."""
    told = {"owner": await ctx.users.owner(user), "kind": {"$in": ["merge", "split"]}, "other": {"$ne": None}}
    merged: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    try:
        async for change in ctx.database[CHANGES].find(told):
            person, other, state = change["person"], change["other"], change["state"]
            if change["kind"] == "merge" and state == "done":
                merged[other] = person
            elif (change["kind"], state) in (("merge", "undone"), ("split", "done")):
                pairs.append((person, other))
    except DRIVER_ERRORS as error:
        raise translate_error(error, "person_changes.find") from error

    def who(person: int) -> int:
        passed = {person}
        while (into := merged.get(person)) is not None and into not in passed:  # damaged documents make rings
            passed.add(into)
            person = into
        return person

    return {frozenset((who(one), who(other))) for one, other in pairs}
