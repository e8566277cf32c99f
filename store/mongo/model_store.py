"""`MongoStore`: a collection whose documents are models, with checked queries and updates."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, TypeVar

from pymongo import ReturnDocument

from store.errors import BadFilterError, ConflictError
from store.mongo.client import Collection, Database
from store.mongo.documents import SCHEMA, Model
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import (
    Filters,
    Sort,
    checked_filters,
    checked_label,
    checked_limit,
    checked_skip,
    checked_sort,
)
from store.mongo.query_limits import QueryLimiter, check_number, max_documents
from store.mongo.update_guard import checked_update, with_operators
from store.mongo.update_options import checked_options, equalities
from store.observer import StoreObserver, UnobservedStore

M = TypeVar("M", bound=Model)


class MongoStore(Generic[M]):
    """A collection of documents of one class, without owners.

    Every method raises `BadFilterError` for filters, updates, sorts and limits that are not
    allowed (see `store.mongo.guard`), `QueryTimeoutError` if a query exceeds its time limit (see
    `store.mongo.query_limits`), and `StoreUnavailableError` if MongoDB does not answer.
    """

    name: ClassVar[str]
    """Name of the collection in MongoDB."""
    _model: type[M]
    """The class of its documents; public as `Model`, as in `Faces.Model`."""
    protected: ClassVar[frozenset[str]] = frozenset()
    """Fields that, like `_id` and `owner`, only methods of this class may change."""
    set_whole: ClassVar[frozenset[str]] = frozenset({"name"})
    """Fields that an update may only set or unset as a whole, because their values are checked."""
    always_read: ClassVar[frozenset[str]] = frozenset({"_id"})
    """Fields that a projection cannot leave out."""
    name_field: ClassVar[str] = "_id"
    """The protected field that the filters of an upsert may set in a new document."""

    def __init__(
        self,
        database: Database,
        observer: StoreObserver | None = None,
        limiter: QueryLimiter | None = None,
    ) -> None:
        self._collection: Collection = database[self.name]
        self._observer: StoreObserver = observer or UnobservedStore()
        self.limiter = limiter or QueryLimiter()

    async def find(
        self,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> list[M]:
        """The documents that pass the filters, in the order of `sort`."""
        return await self._find(checked_filters(filters), sort, skip, limit)

    async def find_one(
        self, filters: Filters | None, sort: Sort | None = None, skip: int | None = None
    ) -> M | None:
        """The first document that passes the filters, or None."""
        return await self._find_one(checked_filters(filters), sort, skip)

    async def count(
        self,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> int:
        """The number of documents that pass the filters, after `skip` and up to `limit`."""
        return await self._count(checked_filters(filters), sort, skip, limit)

    async def remove_one(self, filters: Filters | None, sort: Sort | None = None) -> M | None:
        """Removes the first document that passes the filters, and returns it or None."""
        return await self._remove_one(checked_filters(filters), sort)

    async def update_one(
        self,
        filters: Filters | None,
        update: Mapping[str, Any],
        sort: Sort | None = None,
        return_document: bool = ReturnDocument.AFTER,
        **kwargs: object,
    ) -> M | None:
        """Updates the first document that passes the filters, and returns it after or before the update.

        Args:
            update: `{property: value}`, or MongoDB's operators such as `{"$set": {property: value}}`.
            kwargs: `array_filters`, `collation`, `comment`, `hint`, `projection` and `upsert`, as in MongoDB.
                A projection always includes the `_id` and, where there is one, the `owner`.
        """
        return await self._update_one(checked_filters(filters), update, sort, return_document, kwargs)

    def wrap_in_model(self, obj: Mapping[str, Any]) -> M:
        """The document as an instance of this collection's Model."""
        return self._model(obj)

    # The same operations for subclasses, with a query that was already checked.

    async def _find(
        self,
        query: dict[str, Any],
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> list[M]:
        wanted, most = checked_limit(limit), max_documents()
        options = {"sort": self._sort(sort), "skip": checked_skip(skip), "limit": wanted}
        if most:
            options["limit"] = min(wanted or most + 1, most + 1)
        async with self._query("find", query) as max_time_ms:
            cursor = self._collection.find(query, **options, max_time_ms=max_time_ms)
            documents = await cursor.to_list(None)
        check_number(len(documents))
        return [self.wrap_in_model(document) for document in documents]

    async def _find_one(
        self, query: dict[str, Any], sort: Sort | None = None, skip: int | None = None
    ) -> M | None:
        options = {"sort": self._sort(sort), "skip": checked_skip(skip)}
        async with self._query("find_one", query) as max_time_ms:
            document = await self._collection.find_one(query, **options, max_time_ms=max_time_ms)
        return None if document is None else self.wrap_in_model(document)

    async def _count(
        self, query: dict[str, Any], sort: Sort | None, skip: int | None, limit: int | None
    ) -> int:
        self._sort(sort)
        options: dict[str, Any] = {"skip": checked_skip(skip)}
        if number := checked_limit(limit):
            options["limit"] = number
        async with self._query("count", query) as max_time_ms:
            return int(await self._collection.count_documents(query, **options, maxTimeMS=max_time_ms))

    async def _remove_one(self, query: dict[str, Any], sort: Sort | None) -> M | None:
        order = self._sort(sort)
        async with self._query("remove_one", query) as max_time_ms:
            document = await self._collection.find_one_and_delete(query, sort=order, maxTimeMS=max_time_ms)
        return None if document is None else self.wrap_in_model(document)

    async def _update_one(
        self,
        query: dict[str, Any],
        update: Mapping[str, Any],
        sort: Sort | None,
        return_document: bool,
        kwargs: Mapping[str, object],
    ) -> M | None:
        changes, options = self._checked_update(update, return_document, kwargs)
        options |= {"sort": self._sort(sort), "return_document": return_document}
        upsert = options.pop("upsert", False)
        document = await self._find_and_update(query, changes, options)
        if document is None and upsert:
            changes = await self._upsert_changes(query, changes)
            document = await self._find_and_update(query, changes, {**options, "upsert": True})
        return None if document is None else self.wrap_in_model(document)

    async def _find_and_update(
        self, query: dict[str, Any], changes: dict[str, Any], options: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        filters = options.get("array_filters")
        async with self._query("update_one", query, changes, filters) as max_time_ms:
            document: Mapping[str, Any] | None = await self._collection.find_one_and_update(
                query, changes, maxTimeMS=max_time_ms, **options
            )
        return document

    def _checked_update(
        self, update: object, return_document: object, kwargs: Mapping[str, object]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check the changes and options of an update."""
        if not isinstance(return_document, bool):
            raise BadFilterError("return_document is ReturnDocument.BEFORE or ReturnDocument.AFTER")
        return self._changes(update), checked_options(kwargs, self.always_read)

    async def _upsert_changes(self, query: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """The changes of an upsert that found no document, with the missing fields of a new one."""
        given = equalities(query)
        refused = sorted({field.partition(".")[0] for field in given} & self.protected - {self.name_field})
        if refused:
            raise BadFilterError(f"an upsert cannot create a document with {', '.join(refused)}; use add")
        given |= changes.get("$set", {})
        changed = {path.partition(".")[0] for fields in changes.values() for path in fields}
        missing = await self._upsert_defaults(given)
        return {**changes, "$setOnInsert": {key: part for key, part in missing.items() if key not in changed}}

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """The missing fields of a document that an upsert creates with the given ones.

        Raises:
            BadValueError: a document of this collection cannot have these fields.
        """
        return {"schema": SCHEMA}

    def _sort(self, sort: Sort | None) -> list[tuple[str, int]] | None:
        """Check a sort."""
        return checked_sort(sort)

    def _changes(self, update: object) -> dict[str, Any]:
        """Check an update."""
        changes = checked_update(with_operators(update), self.protected, self.set_whole)
        if "name" in changes.get("$set", {}):
            checked_label(changes["$set"]["name"], "a name")
        return changes

    async def _insert(self, document: OrderedDict[str, Any]) -> None:
        document.move_to_end("_id", last=False)  # as MongoDB does
        async with self._operation("insert"):
            await self._collection.insert_one(dict(document))

    @asynccontextmanager
    async def _query(self, name: str, *parts: object) -> AsyncIterator[int]:
        """As `_operation`; yields the `maxTimeMS` of a query with these filters and updates."""
        async with self.limiter.admitted(f"{self.name}.{name}", *parts) as max_time_ms, self._operation(name):
            yield max_time_ms

    @asynccontextmanager
    async def _operation(self, name: str) -> AsyncIterator[None]:
        """Measures a call to MongoDB and translates the driver's errors."""
        operation = f"{self.name}.{name}"
        since = time.perf_counter()
        try:
            yield
        except DRIVER_ERRORS as error:
            translated = translate_error(error, operation)
            self._observer.error(operation, type(translated).__name__)
            # The server's text about a conflict contains the values, which may be a token.
            raise translated from (None if isinstance(translated, ConflictError) else error)
        finally:
            self._observer.operation(operation, time.perf_counter() - since)
