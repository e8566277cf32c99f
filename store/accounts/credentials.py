"""API tokens and sessions: random texts, stored as SHA-256 digests and found by one look-up in an index."""

import hashlib
import secrets
from collections.abc import Collection as Names
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from store.accounts.accounts import Account, account_by_id, checked_cameras
from store.accounts.roles import Principal, Role
from store.errors import BadValueError, ConflictError, NotFoundError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

TOKENS, SESSIONS = "api_tokens", "sessions"
PREFIX = "fct_"
"""Prefix of tokens, by which scanners for leaked secrets recognise them."""
NAME_LENGTH = 64
SESSION_IDLE = timedelta(hours=12)
"""A session ends after this time without a request."""
SESSION_MAX = timedelta(days=7)
TOUCH_INTERVAL = timedelta(minutes=5)
"""Minimum interval between updates of the stored time of last use."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token without its text."""

    id: ObjectId
    owner: ObjectId
    name: str
    role: Role
    cameras: frozenset[str] | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None

    @property
    def principal(self) -> Principal:
        return Principal(self.owner, f"token {self.name}", self.role, self.cameras)


class ApiTokens:
    """The API tokens of one owner. Their names are unique."""

    def __init__(self, database: Database, owner: ObjectId) -> None:
        self._collection: Collection = database[TOKENS]
        self._owner = owner

    async def add(
        self,
        name: str,
        role: Role,
        cameras: Names[str] | None = None,
        lifetime: timedelta | None = timedelta(days=365),
    ) -> tuple[str, ApiToken]:
        """A new token; its text is returned once and not stored.

        Raises:
            BadValueError: an argument is malformed.
            ConflictError: the name is taken.
        """
        if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
            raise BadValueError(f"a token's name is 1 to {NAME_LENGTH} printable characters")
        if lifetime is not None and lifetime <= timedelta():
            raise BadValueError("a token's lifetime is positive")
        text, now = f"{PREFIX}{secrets.token_urlsafe(32)}", datetime.now(UTC)
        try:
            expires = None if lifetime is None else now + lifetime
        except OverflowError as error:
            raise BadValueError("a token's lifetime ends before the year 10000") from error
        document = {
            "_id": ObjectId(),
            "owner": self._owner,
            "name": name,
            "digest": _digest(text),
            "role": role.value,
            "cameras": checked_cameras(role, cameras),
            "created": now,
            "expires": expires,
            "last_used": None,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise ConflictError(f"there is a token {name} already", ("name",)) from error
        except DRIVER_ERRORS as error:
            raise translate_error(error, "api_tokens.add") from error
        return text, _token(document)

    async def find(self) -> list[ApiToken]:
        """All tokens, by name; expired ones included."""
        try:
            found = await self._collection.find({"owner": self._owner}, sort=[("name", 1)]).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "api_tokens.find") from error
        return [_token(document) for document in found]

    async def revoke(self, name: str) -> None:
        """Raises NotFoundError if there is no token of this name."""
        try:
            removed = await self._collection.delete_one({"owner": self._owner, "name": name})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "api_tokens.revoke") from error
        if not removed.deleted_count:
            raise NotFoundError(f"there is no token {name!r:.80}; `facend tokens list` shows all")


async def open_session(database: Database, account: Account, address: str) -> str:
    """A new session of the account; returns its text, which is not stored."""
    text, now = secrets.token_urlsafe(32), datetime.now(UTC)
    document = {
        "_id": ObjectId(),
        "owner": account.owner,
        "account": account.id,
        "digest": _digest(text),
        "address": address,
        "created": now,
        "used": now,
        "expires": now + SESSION_IDLE,
    }
    try:
        await database[SESSIONS].insert_one(document)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "sessions.open") from error
    return text


async def close_session(database: Database, text: str) -> None:
    try:
        await database[SESSIONS].delete_one({"digest": _digest(text)})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "sessions.close") from error


async def close_sessions(database: Database, account: Account) -> int:
    """End all sessions of an account, as after a change of its password; returns their number."""
    try:
        removed = await database[SESSIONS].delete_many({"account": account.id})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "sessions.close") from error
    return int(removed.deleted_count)


async def principal_of_token(database: Database, text: str) -> Principal | None:
    """The principal with this token; None if it is unknown or expired."""
    now = datetime.now(UTC)
    query = {"digest": _digest(text), "$or": [{"expires": None}, {"expires": {"$gt": now}}]}
    collection = database[TOKENS]
    try:
        found = await collection.find_one(query)
        if found is None:
            return None
        used = found.get("last_used")
        if used is None or now - used.astimezone(UTC) > TOUCH_INTERVAL:
            await collection.update_one({"_id": found["_id"]}, {"$set": {"last_used": now}})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "api_tokens.authenticate") from error
    return _token(found).principal


async def principal_of_session(database: Database, text: str) -> Principal | None:
    """The principal signed in with this session, which each use extends; None if it has ended."""
    now = datetime.now(UTC)
    collection = database[SESSIONS]
    try:
        found = await collection.find_one({"digest": _digest(text), "expires": {"$gt": now}})
        if found is None:
            return None
        if now - found["used"].astimezone(UTC) > TOUCH_INTERVAL:
            expires = min(now + SESSION_IDLE, found["created"].astimezone(UTC) + SESSION_MAX)
            await collection.update_one({"_id": found["_id"]}, {"$set": {"used": now, "expires": expires}})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "sessions.authenticate") from error
    account = await account_by_id(database, found["account"])
    return None if account is None else account.principal


def _digest(text: str) -> str:
    """Without salt, because precomputed tables do not help against random texts."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _token(document: Mapping[str, Any]) -> ApiToken:
    cameras = document.get("cameras")
    return ApiToken(
        document["_id"],
        document["owner"],
        document["name"],
        Role(document["role"]),
        None if cameras is None else frozenset(cameras),
        document["created"].astimezone(UTC),
        _utc(document.get("expires")),
        _utc(document.get("last_used")),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
