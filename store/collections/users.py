"""Users and their authentication, and `UserStore`: collections whose documents have owners."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument

from store.errors import AuthenticationError, BadFilterError, BadValueError
from store.mongo.client import Database
from store.mongo.documents import SCHEMA, Model, checked_mapping
from store.mongo.guard import Filters, Sort, checked_filters, owned
from store.mongo.model_store import MongoStore
from store.mongo.query_limits import QueryLimiter, check_number
from store.observer import StoreObserver

CACHE_SECONDS = 1.0
MAX_TOKEN = 512


class User(Model):
    """A user: `_id` (ObjectId), `token` (text, unique), `active`."""

    def __repr__(self) -> str:
        shown = {key: "***" if key == "token" else value for key, value in self.items()}
        return f"Users.Model({shown!r})"

    __str__ = __repr__


class Users(MongoStore[User]):
    """The users. Every other document belongs to one, and only active users may access theirs."""

    name = "users"
    Model: TypeAlias = User
    _model = User
    always_read = frozenset({"_id", "active"})

    def __init__(
        self,
        database: Database,
        observer: StoreObserver | None = None,
        limiter: QueryLimiter | None = None,
    ) -> None:
        super().__init__(database, observer, limiter)
        self._active_until: dict[ObjectId, float] = {}

    async def add(self, user: Mapping[str, Any]) -> User:
        """Enrols a user. A missing `token` is generated; `active` defaults to True.

        Raises:
            BadValueError: the data is not a mapping, or the token or `active` has a wrong type.
            ConflictError: the token is taken.
        """
        model = User(checked_mapping(user, "user", ("token", "active")))
        model.setdefault("_id", ObjectId())
        model.setdefault("token", secrets.token_urlsafe(32))
        model.setdefault("active", True)
        _check_user_id(model["_id"])
        _check_credentials(model)
        model["schema"] = SCHEMA
        await self._insert(model)
        return model

    async def authenticate(self, token: str) -> User:
        """The active user with this token. AuthenticationError if there is none.

        One index look-up, for valid and invalid tokens alike. The token found is compared again, in constant
        time: MongoDB also matches a user whose token is a list that contains this text.
        """
        if not isinstance(token, str):
            raise AuthenticationError("a token is text")
        found = await self._with_token(token)
        own = None if found is None else found.get("token")
        right = hmac.compare_digest(_digest(own if isinstance(own, str) else ""), _digest(token))
        if found is None or not token or not right or found.get("active") is not True:
            raise AuthenticationError("no active user has this token")
        return found

    async def _with_token(self, token: str) -> User | None:
        try:
            token.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which MongoDB cannot store
            return None
        return await self._find_one({"token": token})

    async def owner(self, user: "ObjectId | User | None") -> ObjectId:
        """The id of an active user, given by id or object.

        The answer is cached for a second. Changes made through this object take effect at once, those of
        other processes within that second.

        Raises:
            AuthenticationError: the user is None, of a wrong type, unknown or inactive.
        """
        key = user.get("_id") if isinstance(user, User) else user
        if not isinstance(key, ObjectId):
            raise AuthenticationError(
                f"a user is given by ObjectId or as a Users.Model with an _id, not by {type(user).__name__}"
            )
        if isinstance(user, User) and user.get("active") is not True:
            raise AuthenticationError(f"the user {key} is not active")
        now = time.monotonic()
        if self._active_until.get(key, 0.0) > now:
            return key
        found = await self._find_one({"_id": key})
        if found is None:
            raise AuthenticationError(f"there is no user {key}")
        if found.get("active") is not True:
            raise AuthenticationError(f"the user {key} is not active")
        self._active_until[key] = now + CACHE_SECONDS
        return key

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        new = {"_id": ObjectId(), "token": secrets.token_urlsafe(32), "active": True} | given
        _check_user_id(new["_id"])
        _check_credentials(new)
        return {
            **await super()._upsert_defaults(given),
            **{key: new[key] for key in ("_id", "token", "active")},
        }

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(update)
        for operator, fields in changes.items():
            reached = {*fields, *fields.values()} if operator == "$rename" else {*fields}
            if operator != "$set" and reached & {"token", "active"}:
                raise BadFilterError(f"a user's token and active are changed by $set, not by {operator}")
            _check_credentials(fields)
        return changes

    async def update_one(
        self,
        filters: Filters | None,
        update: Mapping[str, Any],
        sort: Sort | None = None,
        return_document: bool = ReturnDocument.AFTER,
        **kwargs: object,
    ) -> User | None:
        """As `MongoStore.update_one`. Only `$set` may change `token` and `active`, to valid values."""
        try:
            return await super().update_one(filters, update, sort, return_document, **kwargs)
        finally:
            self._active_until.clear()

    async def remove_one(self, filters: Filters | None, sort: Sort | None = None) -> User | None:
        try:
            return await super().remove_one(filters, sort)
        finally:
            self._active_until.clear()


def _check_user_id(value: object) -> None:
    if not isinstance(value, ObjectId):
        raise BadValueError(f"the _id of a user is an ObjectId, not {type(value).__name__}")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _check_credentials(fields: Mapping[str, Any]) -> None:
    token = fields.get("token", "none given")
    if not isinstance(token, str) or not 1 <= len(token) <= MAX_TOKEN or not token.isprintable():
        raise BadValueError(f"a user's token is printable text of 1 to {MAX_TOKEN} characters")
    if token != token.strip():
        raise BadValueError("a user's token has no leading or trailing space: HTTP does not transmit it")
    if not isinstance(fields.get("active", True), bool):
        raise BadValueError(f"a user's active is True or False, not {fields['active']!r:.40}")


UserArgument = ObjectId | User
"""How a user is given: by id or as an object."""

M = TypeVar("M", bound=Model)


class UserStore(MongoStore[M], Generic[M]):
    """A collection whose documents belong to users; no user can reach those of another.

    The first argument of every method is the user, by id or object; it raises `AuthenticationError`
    for None and for unknown or inactive users. The caller's filters only narrow the user's documents.
    """

    always_read = frozenset({"_id", "owner"})

    def __init__(self, database: Database, users: Users, observer: StoreObserver | None = None) -> None:
        super().__init__(database, observer, users.limiter)
        self._users = users

    def _filters(self, filters: Filters | None) -> Filters | None:
        """Convert the caller's filters to filters on the documents' fields."""
        return filters

    async def find(  # type: ignore[override]  # the seeds put the user first
        self,
        user: UserArgument | None,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> list[M]:
        """The user's documents that pass the filters, in the order of the sort."""
        return await self._find(
            owned(self._filters(filters), await self._users.owner(user)), sort, skip, limit
        )

    async def find_one(  # type: ignore[override]  # the seeds put the user first
        self,
        user: UserArgument | None,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
    ) -> M | None:
        """The user's first document that passes the filters, or None."""
        return await self._find_one(owned(self._filters(filters), await self._users.owner(user)), sort, skip)

    async def count(  # type: ignore[override]  # the seeds put the user first
        self,
        user: UserArgument | None,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> int:
        """The number of the user's documents that pass the filters, after `skip` and up to `limit`."""
        return await self._count(
            owned(self._filters(filters), await self._users.owner(user)), sort, skip, limit
        )

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> M | None:
        """Removes the user's first document that passes the filters and returns it, or None."""
        return await self._remove_one(owned(self._filters(filters), await self._users.owner(user)), sort)

    async def update_one(  # type: ignore[override]  # the seeds put the user first
        self,
        user: UserArgument | None,
        filters: Filters | None,
        update: Mapping[str, Any],
        sort: Sort | None = None,
        return_document: bool = ReturnDocument.AFTER,
        **kwargs: object,
    ) -> M | None:
        """Updates the user's first document that passes the filters; returns it after or before the
        update."""
        query = owned(self._filters(filters), await self._users.owner(user))
        return await self._update_one(query, update, sort, return_document, kwargs)

    async def update_many(
        self,
        user: UserArgument | None,
        filters: Filters | None,
        update: Mapping[str, Any],
        sort: Sort | None = None,
        return_document: bool = ReturnDocument.AFTER,
        **kwargs: object,
    ) -> list[M]:
        """Updates the user's documents that pass the filters, in the order of the sort, and returns them.

        Each document is changed and read atomically, so that the list has exactly the changed documents,
        even if they are changed concurrently. Arguments as for `update_one`; an upsert creates a document
        if none passes the filters.
        """
        owner = await self._users.owner(user)
        query = owned(self._filters(filters), owner)
        order = self._sort(sort)
        _, options = self._checked_update(update, return_document, kwargs)
        reading = {key: options[key] for key in ("collation", "hint") if key in options}
        async with self._query("find", query) as max_time_ms:
            cursor = self._collection.find(query, {"_id": 1}, sort=order, max_time_ms=max_time_ms, **reading)
            ids = [document["_id"] async for document in cursor]
        check_number(len(ids))
        if not ids and options.get("upsert"):
            made = await self._update_one(query, update, None, return_document, kwargs)
            return [] if made is None else [made]
        kwargs = {key: value for key, value in kwargs.items() if key not in ("hint", "upsert")}
        updated = []
        for key in ids:
            one = {"$and": [{"_id": key, "owner": owner}, checked_filters(self._filters(filters))]}
            if (model := await self._update_one(one, update, None, return_document, kwargs)) is not None:
                updated.append(model)
        return updated
