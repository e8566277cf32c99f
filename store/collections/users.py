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

REMEMBERED_SECONDS = 1.0
MAX_TOKEN = 512


class User(Model):
    """A user: `_id` (ObjectId), `token` (text, unique), `active`."""

    def __repr__(self) -> str:
        shown = {key: "***" if key == "token" else value for key, value in self.items()}
        return f"Users.Model({shown!r})"

    __str__ = __repr__


class Users(MongoStore[User]):
    """The users. They are the owners of everything else, and the only ones who may ask for it."""

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
        self._remembered: dict[ObjectId, float] = {}

    async def add(self, user: Mapping[str, Any]) -> User:
        """Enrols a user. A missing `token` is made, a missing `active` is True.

        Raises:
            BadValueError: the data is no mapping, or the token or `active` has a wrong type.
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
        """The active user with this token. AuthenticationError where there is none.

        One look-up in the index of tokens, for right and wrong ones alike. What it finds is compared once
        more, in constant time: MongoDB also finds a user whose token is a list with this text in it.
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
        except UnicodeEncodeError:  # half a surrogate pair, which MongoDB cannot hold
            return None
        return await self._find_one({"token": token})

    async def owner(self, user: "ObjectId | User | None") -> ObjectId:
        """The id of an active user, given by id or object.

        That a user is active is remembered for a second, so that calls in a row do not ask again
        and again; changes made through this object count at once, those of other processes
        within that second.

        Raises:
            AuthenticationError: none given, something else given, unknown or inactive.
        """
        key = user.get("_id") if isinstance(user, User) else user
        if not isinstance(key, ObjectId):
            raise AuthenticationError(
                f"a user is given by ObjectId or as a Users.Model with an _id, not by {type(user).__name__}"
            )
        if isinstance(user, User) and user.get("active") is not True:
            raise AuthenticationError(f"the user {key} is not active")
        now = time.monotonic()
        if self._remembered.get(key, 0.0) > now:
            return key
        found = await self._find_one({"_id": key})
        if found is None:
            raise AuthenticationError(f"there is no user {key}")
        if found.get("active") is not True:
            raise AuthenticationError(f"the user {key} is not active")
        self._remembered[key] = now + REMEMBERED_SECONDS
        return key

    async def _completing(self, given: dict[str, Any]) -> dict[str, Any]:
        new = {"_id": ObjectId(), "token": secrets.token_urlsafe(32), "active": True} | given
        _check_user_id(new["_id"])
        _check_credentials(new)
        return {**await super()._completing(given), **{key: new[key] for key in ("_id", "token", "active")}}

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
        """As MongoStore's; `token` and `active` only by `$set`, and only to what they may be."""
        try:
            return await super().update_one(filters, update, sort, return_document, **kwargs)
        finally:
            self._remembered.clear()

    async def remove_one(self, filters: Filters | None, sort: Sort | None = None) -> User | None:
        try:
            return await super().remove_one(filters, sort)
        finally:
            self._remembered.clear()


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
        raise BadValueError("a user's token has no space in front or behind: HTTP does not transmit it")
    if not isinstance(fields.get("active", True), bool):
        raise BadValueError(f"a user's active is True or False, not {fields['active']!r:.40}")


UserArgument = ObjectId | User
"""How a user is given: by id or as an object."""

M = TypeVar("M", bound=Model)


class UserStore(MongoStore[M], Generic[M]):
    """A collection whose documents belong to users; no user can reach those of another.

    Every method takes the user first, by id or object, and raises `AuthenticationError` for
    none, an unknown or an inactive one. The caller's filters can narrow what is the user's own;
    they can never reach beyond it.
    """

    always_read = frozenset({"_id", "owner"})

    def __init__(self, database: Database, users: Users, observer: StoreObserver | None = None) -> None:
        super().__init__(database, observer, users.limiter)
        self._users = users

    def _filters(self, filters: Filters | None) -> Filters | None:
        """The caller's filters as filters on the fields of the documents."""
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
        """The user's first document that passes the filters, None where there is none."""
        return await self._find_one(owned(self._filters(filters), await self._users.owner(user)), sort, skip)

    async def count(  # type: ignore[override]  # the seeds put the user first
        self,
        user: UserArgument | None,
        filters: Filters | None,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
    ) -> int:
        """How many of the user's documents pass the filters, after `skip` and up to `limit` of them."""
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
        """Updates the user's first document that passes the filters; returns it as it is (or was)."""
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

        Each document is changed and read in one step, so that the list holds exactly those that
        were changed, even where others change documents at the same time. Arguments as of `update_one`;
        an upsert makes a document where none passes the filters.
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
