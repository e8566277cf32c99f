"""Collections that hide malformed documents from their readers.

Every read is restricted to documents with the shape of their collection (`store.mongo.shapes`). Updates and
removals by filter are restricted too if they return a document; other writes pass unchanged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from store.mongo.shapes import well_formed

Query = Mapping[str, Any]


class GatedCollection:
    """A collection of the driver; methods that are not defined here are the driver's."""

    def __init__(self, ungated: Any, condition: dict[str, Any]) -> None:  # noqa: ANN401  the driver has no types
        self.ungated = ungated
        """The driver's collection, including malformed documents. For maintenance, which reports them and
        must not remove the files they refer to."""
        self._condition = condition

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the driver has no types
        return getattr(self.ungated, name)

    def find(self, filter: Query | None = None, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  the driver's names
        return self.ungated.find(self._gated(filter), *args, **options)

    def find_raw_batches(self, filter: Query | None = None, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        return self.ungated.find_raw_batches(self._gated(filter), *args, **options)

    def find_one(self, filter: Query | None = None, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        return self.ungated.find_one(self._gated(filter), *args, **options)

    def find_one_and_update(self, filter: Query, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        # An upsert that does not see a malformed document would try to insert a second one with its `_id`.
        query = filter if options.get("upsert") else self._gated(filter)
        return self.ungated.find_one_and_update(query, *args, **options)

    def find_one_and_delete(self, filter: Query, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        return self.ungated.find_one_and_delete(self._gated(filter), *args, **options)

    def count_documents(self, filter: Query, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        return self.ungated.count_documents(self._gated(filter), *args, **options)

    def distinct(self, key: str, filter: Query | None = None, *args: object, **options: object) -> Any:  # noqa: A002, ANN401  as `find`
        return self.ungated.distinct(key, self._gated(filter), *args, **options)

    def aggregate(self, pipeline: Sequence[Query], *args: object, **options: object) -> Any:  # noqa: ANN401  as `find`
        steps = [{"$match": self._condition}, *pipeline] if self._condition else pipeline
        return self.ungated.aggregate(steps, *args, **options)

    def _gated(self, query: Query | None) -> Query:
        if not self._condition:
            return query or {}
        return {"$and": [query, self._condition]} if query else self._condition


class GatedDatabase:
    """A database of the driver whose collections are gated."""

    def __init__(self, ungated: Any) -> None:  # noqa: ANN401  the driver has no types
        self._ungated = ungated

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the driver has no types
        return getattr(self._ungated, name)

    def __getitem__(self, name: str) -> GatedCollection:
        return GatedCollection(self._ungated[name], well_formed(name))
