"""`facend facens rebuild` beside the running daemon: the storage that it searches, put right by MongoDB."""

from collections.abc import Callable

from store import Context, FacenStorageError, StoreUnavailableError
from store.facens.sync.diff import entries_listed
from store.facens.sync.migrate import Proof, bring_over


async def rebuild(ctx: Context, told: Callable[[int, int], object]) -> Proof:
    """Puts every face right that is searched by something else than MongoDB has, proves that both are equal,
    and writes the snapshot. Nobody is missed by a search meanwhile.

    `told` hears how many entries were looked at, and of how many.

    Raises:
        StoreError: a side or a shard does not answer, both are not equal, or the disk does not take the
            snapshot.
    """
    if out := [shard.name for shard in await ctx.facens.health() if not shard.live]:
        raise FacenStorageError(
            f"{', '.join(out)} of the facen storage is out of service; the daemon brings it back by itself "
            "where it can, and its log says more: run this again then",
            out[0],
        )
    done, entries = 0, sum((await entries_listed(ctx.database["faces"])).values())

    def looked_at(more: int) -> None:
        nonlocal done
        done += more
        told(done, entries)

    looked_at(0)
    proof = await bring_over(ctx.database, ctx.facens, looked_at, ctx.faces.locks)
    try:
        await ctx.keeping.save()
    except OSError as error:
        raise StoreUnavailableError(
            f"the facens are in order, but the snapshot cannot be written ({error.strerror})"
        ) from error
    return proof
