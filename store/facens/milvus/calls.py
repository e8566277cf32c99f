"""Calls to a Milvus server. The only module that imports its client."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from grpc import Call, RpcError
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from pipeline.base.hosts import split_authority
from pipeline.base.tls import ca_file
from pipeline.base.urls import split_url
from pipeline.types import Facen
from store.errors import FacenStorageError, StoreUnavailableError
from store.settings import FacensSettings

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs every error that it also raises

ID, FACEN = "id", "facen"
PORT = 19530
MAX_RESULTS = 16_384
"""Milvus' maximum number of results (https://milvus.io/docs/limitations.md)."""
HNSW_BUILD = {"M": 32, "efConstruction": 200}
MIN_EF = 128
CREATE_SECONDS = 60.0
"""Minimum timeout of a new collection, which takes seconds to create."""
GRACE_SECONDS = 1.0
"""Additional time after the client's own timeout."""

_Result = TypeVar("_Result")


class MissingError(Exception):
    """The collection or partition does not exist."""


class MilvusCalls:
    """Calls to one server, each in a thread and with a timeout.

    Every method raises FacenStorageError if the server fails or does not answer, and MissingError if the
    collection or partition does not exist.
    """

    def __init__(self, client: MilvusClient, address: str, settings: FacensSettings) -> None:
        self.address = address
        self._client = client
        self._timeout = settings.timeout_seconds
        self._create_timeout = max(CREATE_SECONDS, settings.timeout_seconds)
        self._settings = settings
        self._consistency = settings.consistency.capitalize()

    @classmethod
    async def connect(cls, settings: FacensSettings) -> "MilvusCalls":
        """Connect to `facens.url`. StoreUnavailableError if the server does not answer."""
        url = split_url(settings.url.get_secret_value())
        parts = urlsplit(url.public)
        scheme = "https" if parts.scheme == "https" else "http"
        host, port = split_authority(parts.netloc)
        address = f"{f'[{host}]' if ':' in host else host}:{port or PORT}"

        def connect() -> MilvusClient:
            return MilvusClient(
                f"{scheme}://{address}",
                user=url.user or "",
                password=url.password or "",
                db_name=parts.path.strip("/"),
                timeout=settings.timeout_seconds,
                **({"server_pem_path": ca_file(settings.tls_verify)} if scheme == "https" else {}),
            )

        try:
            async with asyncio.timeout(settings.timeout_seconds + GRACE_SECONDS):
                return cls(await asyncio.to_thread(connect), address, settings)
        except (MilvusException, RpcError, OSError, TimeoutError) as error:
            raise StoreUnavailableError(
                f"Milvus at {address} does not answer ({_error_text(error)}); check facens.url and that "
                "the server runs"
            ) from error

    async def collections(self) -> list[str]:
        return await self._call("list", lambda: list(self._client.list_collections(timeout=self._timeout)))

    async def partitions(self, collection: str) -> list[str]:
        return await self._call(
            "partitions", lambda: list(self._client.list_partitions(collection, timeout=self._timeout))
        )

    async def describe(self, collection: str) -> tuple[int, dict[str, Any]]:
        """The size of the collection's facens, and the description passed to `create_collection`."""

        def call() -> tuple[int, dict[str, Any]]:
            found = self._client.describe_collection(collection, timeout=self._timeout)
            (field,) = [field for field in found["fields"] if field["name"] == FACEN]
            return int(field["params"]["dim"]), json.loads(found["description"] or "{}")

        return await self._call("describe", call)

    async def create_collection(self, collection: str, size: int, description: dict[str, Any]) -> None:
        """Create and load a collection. No error if another process created it first."""

        def create() -> None:
            client = self._client
            schema = client.create_schema(
                auto_id=False, enable_dynamic_field=False, description=json.dumps(description)
            )
            schema.add_field(ID, DataType.INT64, is_primary=True)
            schema.add_field(FACEN, DataType.FLOAT_VECTOR, dim=size)
            index = client.prepare_index_params()
            if self._settings.index == "exact":
                index.add_index(FACEN, index_type="FLAT", metric_type="IP")
            else:
                index.add_index(FACEN, index_type="HNSW", metric_type="IP", params=HNSW_BUILD)
            client.create_collection(
                collection,
                schema=schema,
                num_shards=self._settings.shards,
                consistency_level=self._consistency,
                timeout=self._create_timeout,
            )
            client.create_index(collection, index, timeout=self._create_timeout)

        await self._call("create", create, CREATE_SECONDS)
        await self.load(collection)

    async def load(self, collection: str) -> None:
        """Load a collection into the query nodes' memory, unless it is loaded."""
        replicas = self._settings.replicas
        await self._call(
            "load",
            lambda: self._client.load_collection(
                collection, replica_number=replicas, timeout=self._create_timeout
            ),
            CREATE_SECONDS,
        )

    async def create_partition(self, collection: str, partition: str) -> None:
        await self._call(
            "create", lambda: self._client.create_partition(collection, partition, timeout=self._timeout)
        )

    async def drop_partition(self, collection: str, partition: str) -> None:
        def drop() -> None:
            self._client.release_partitions(collection, [partition], timeout=self._timeout)
            self._client.drop_partition(collection, partition, timeout=self._timeout)

        await self._call("drop", drop)

    async def drop_collection(self, collection: str) -> None:
        await self._call("drop", lambda: self._client.drop_collection(collection, timeout=self._timeout))

    async def insert(self, collection: str, partition: str, entries: Sequence[tuple[int, Facen]]) -> None:
        rows = [{ID: face_id, FACEN: facen} for face_id, facen in entries]
        await self._call(
            "insert",
            lambda: self._client.insert(collection, rows, partition_name=partition, timeout=self._timeout),
        )

    async def delete(self, collection: str, partition: str, ids: Sequence[int]) -> None:
        await self._call(
            "delete",
            lambda: self._client.delete(
                collection, ids=list(ids), partition_name=partition, timeout=self._timeout
            ),
        )

    async def ids(self, collection: str, partition: str, expression: str, limit: int) -> list[int]:
        """The first `limit` ids that pass the filter expression, in order."""
        rows = await self._query(collection, partition, filter=expression, output_fields=[ID], limit=limit)
        return sorted(int(row[ID]) for row in rows)

    async def facens(
        self, collection: str, partition: str, ids: Sequence[int]
    ) -> list[tuple[int, Sequence[float]]]:
        """The entries with these ids. An id may have several entries."""
        expression = f"id in {list(ids)}"
        rows = await self._query(collection, partition, filter=expression, output_fields=[ID, FACEN])
        return [(int(row[ID]), row[FACEN]) for row in rows]

    async def count(self, collection: str, partition: str) -> int:
        (row,) = await self._query(collection, partition, filter="", output_fields=["count(*)"])
        return int(row["count(*)"])

    async def search(
        self, collection: str, partition: str, facens: Sequence[Facen], limit: int, expression: str = ""
    ) -> list[list[tuple[int, float]]]:
        """Ids and cosines for each facen, best first."""
        params: dict[str, Any] = {"metric_type": "IP"}
        if self._settings.index == "hnsw":
            params["params"] = {"ef": max(MIN_EF, 2 * limit)}

        def search() -> list[list[tuple[int, float]]]:
            answer = self._client.search(
                collection,
                list(facens),
                filter=expression,
                limit=limit,
                search_params=params,
                partition_names=[partition],
                consistency_level=self._consistency,
                timeout=self._timeout,
            )
            return [[(int(hit[ID]), float(hit["distance"])) for hit in hits] for hits in answer]

        return await self._call("search", search)

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def _query(self, collection: str, partition: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401  passed on
        return await self._call(
            "query",
            lambda: list(
                self._client.query(
                    collection,
                    partition_names=[partition],
                    consistency_level="Strong",  # others return removed entries for a moment
                    timeout=self._timeout,
                    **arguments,
                )
            ),
        )

    async def _call(self, operation: str, work: Callable[[], _Result], min_seconds: float = 0) -> _Result:
        try:
            async with asyncio.timeout(max(self._timeout, min_seconds) + GRACE_SECONDS):
                return await asyncio.to_thread(work)
        except MilvusException as error:
            if "not found" in error.message or "not exist" in error.message:
                raise MissingError(error.message) from error
            raise self._failed(operation, error) from error
        except (RpcError, OSError, TimeoutError, ValueError) as error:  # ValueError: the channel was closed
            raise self._failed(operation, error) from error

    def _failed(self, operation: str, error: Exception) -> FacenStorageError:
        return FacenStorageError(
            f"Milvus at {self.address} failed at {operation} ({_error_text(error)})", self.address
        )


def _error_text(error: Exception) -> str:
    if isinstance(error, Call):  # the server did not answer
        return str(error.code().name).replace("_", " ").lower()
    words = " ".join((error.message if isinstance(error, MilvusException) else str(error)).split())
    return f"{type(error).__name__}: {words:.300}" if words else type(error).__name__
