"""Opens the facen storage that the settings configure."""

from store.facens.engine.gallery_array import Precision
from store.facens.engine.local import SHARD, LocalFacens
from store.facens.engine.sharded import ShardedFacens
from store.facens.storage import FacenStorage
from store.settings import FacensSettings


async def open_storage(settings: FacensSettings, size: int | None, pack: str | None) -> FacenStorage:
    """Open the storage. A local storage is empty.

    Raises:
        StoreUnavailableError: a server does not answer.
        PackError: the server has facens of another pack.
    """
    if settings.is_remote:
        from store.facens.milvus.storage import MilvusFacens  # its client takes a second to load

        return await MilvusFacens.connect(settings, size, pack)

    def local(name: str) -> LocalFacens:
        precision, approximate_from = Precision(settings.precision), settings.approximate_from
        return LocalFacens(size, pack=pack, precision=precision, name=name, approximate_from=approximate_from)

    if settings.shards == 1:
        return local(SHARD)
    names = [f"shard {number}" for number in range(1, settings.shards + 1)]
    return ShardedFacens([local(name) for name in names], names, size)


def local_shards(storage: FacenStorage) -> list[LocalFacens]:
    """The storage's shards in the memory of this process."""
    parts = storage.shards if isinstance(storage, ShardedFacens) else (storage,)
    return [part for part in parts if isinstance(part, LocalFacens)]
