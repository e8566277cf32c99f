"""Accounts of people who sign in: name, role, the cameras they may see, and a password."""

import asyncio
import functools
import re
import secrets
from collections.abc import Collection as Names
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pwdlib import PasswordHash
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from store.accounts.roles import Principal, Role
from store.collections.cameras import ID as CAMERA_ID
from store.errors import AuthenticationError, BadValueError, ConflictError, NotFoundError
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
PASSWORD_LENGTH = range(10, 1025)
COLLECTION = "accounts"

_HASH = PasswordHash.recommended()


@dataclass(frozen=True, slots=True)
class Account:
    id: ObjectId
    owner: ObjectId
    name: str
    role: Role
    cameras: frozenset[str] | None
    """The cameras that a viewer may see; None for all."""
    active: bool
    has_password: bool
    created: datetime

    @property
    def principal(self) -> Principal:
        return Principal(self.owner, f"user {self.name}", self.role, self.cameras)


class Accounts:
    """The accounts of one owner. Names are unique and compared without case."""

    def __init__(self, database: Database, owner: ObjectId) -> None:
        self._collection: Collection = database[COLLECTION]
        self._owner = owner

    async def add(
        self, name: str, role: Role, cameras: Names[str] | None = None, password: str | None = None
    ) -> Account:
        """Raises BadValueError for malformed arguments, and ConflictError if the name is taken."""
        document: dict[str, Any] = {
            "_id": ObjectId(),
            "owner": self._owner,
            "name": _checked_name(name),
            "key": name.lower(),
            "role": role.value,
            "cameras": checked_cameras(role, cameras),
            "active": True,
            "created": _now(),
        }
        if password is not None:
            document["password"] = await _hash_password(password)
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise ConflictError(f"there is a user {name} already", ("name",)) from error
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.add") from error
        return _account(document)

    async def find(self) -> list[Account]:
        """All accounts, by name."""
        try:
            found = await self._collection.find({"owner": self._owner}, sort=[("key", 1)]).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.find") from error
        return [_account(document) for document in found]

    async def get(self, name: str) -> Account:
        """Raises NotFoundError if there is no account of this name."""
        return _account(await self._document(name))

    async def change(
        self,
        name: str,
        *,
        role: Role | None = None,
        cameras: Names[str] | None = None,
        all_cameras: bool = False,
        password: str | None = None,
        active: bool | None = None,
    ) -> Account:
        """Change what is given. The last active administrator can be neither demoted nor disabled.

        Raises:
            NotFoundError: there is no account of this name.
            ConflictError: no active administrator would be left.
        """
        before = await self.get(name)
        changes: dict[str, Any] = {}
        if role is not None:
            changes["role"] = role.value
        if cameras is not None or all_cameras or role is not None:
            limited_to = before.cameras if cameras is None and not all_cameras else cameras
            changes["cameras"] = checked_cameras(role or before.role, limited_to)
        if active is not None:
            changes["active"] = active
        if password is not None:
            changes["password"] = await _hash_password(password)
        if before.role is Role.ADMIN and (role not in (None, Role.ADMIN) or active is False):
            await self._require_other_admin(before)
        if not changes:
            return before
        try:
            document = await self._collection.find_one_and_update(
                {"_id": before.id}, {"$set": changes}, return_document=ReturnDocument.AFTER
            )
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.change") from error
        if document is None:
            raise _missing(name)
        return _account(document)

    async def remove(self, name: str) -> Account:
        """Raises as `change`."""
        account = await self.get(name)
        if account.role is Role.ADMIN:
            await self._require_other_admin(account)
        try:
            await self._collection.delete_one({"_id": account.id})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.remove") from error
        return account

    async def verify(self, name: str, password: str) -> Account:
        """The active account with this password; takes the same time for an unknown name.

        Raises:
            AuthenticationError: name or password is wrong, or the account is disabled.
        """
        try:
            document: Mapping[str, Any] = await self._document(name)
        except NotFoundError:
            document = {}
        stored = document.get("password")
        is_right = await asyncio.to_thread(_matches, password, stored)
        if not is_right or document.get("active") is not True:
            raise AuthenticationError("name or password is wrong")
        return _account(document)

    async def _document(self, name: str) -> Mapping[str, Any]:
        try:
            found = await self._collection.find_one({"owner": self._owner, "key": str(name).lower()})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.get") from error
        if found is None:
            raise _missing(name)
        return dict(found)

    async def _require_other_admin(self, account: Account) -> None:
        others = {"owner": self._owner, "role": Role.ADMIN.value, "active": True, "_id": {"$ne": account.id}}
        try:
            count = await self._collection.count_documents(others, limit=1)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "accounts.count") from error
        if account.active and not count:
            raise ConflictError(f"{account.name} is the last active administrator; create another first")


async def account_by_id(database: Database, account_id: ObjectId) -> Account | None:
    """An active account of any owner, for its sessions; None if it is gone or disabled."""
    try:
        found = await database[COLLECTION].find_one({"_id": account_id, "active": True})
    except DRIVER_ERRORS as error:
        raise translate_error(error, "accounts.get") from error
    return None if found is None else _account(found)


def checked_cameras(role: Role, cameras: Names[str] | None) -> list[str] | None:
    """The list of cameras as stored. Raises BadValueError if the role always sees all cameras."""
    if cameras is None:
        return None
    if role is not Role.VIEWER:
        raise BadValueError(f"the role {role} sees all cameras; only a viewer can be limited to some")
    if bad := next((name for name in cameras if not CAMERA_ID.fullmatch(name)), None):
        raise BadValueError(f"a camera's id is 1 to 44 characters of A-Z a-z 0-9 _ -, not {bad!r:.80}")
    return sorted(set(cameras))


def _account(document: Mapping[str, Any]) -> Account:
    cameras = document.get("cameras")
    return Account(
        document["_id"],
        document["owner"],
        document["name"],
        Role(document["role"]),
        None if cameras is None else frozenset(cameras),
        document["active"],
        isinstance(document.get("password"), str),
        document["created"].astimezone(UTC),
    )


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadValueError(f"a user's name is 1 to 64 characters of A-Z a-z 0-9 . _ @ + -, not {name!r:.80}")
    return name


async def _hash_password(password: str) -> str:
    if len(password) not in PASSWORD_LENGTH:
        low, high = PASSWORD_LENGTH.start, PASSWORD_LENGTH.stop - 1
        raise BadValueError(f"a password has {low} to {high} characters")
    return await asyncio.to_thread(_HASH.hash, password)


@functools.cache
def _dummy_hash() -> str:
    """The hash that is compared if there is no password, so that an unknown name takes the same time."""
    return _HASH.hash(secrets.token_urlsafe(16))


def _matches(password: str, stored: object) -> bool:
    compared = stored if isinstance(stored, str) else _dummy_hash()
    return _HASH.verify(password[: PASSWORD_LENGTH.stop], compared) and isinstance(stored, str)


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"there is no user {name!r:.80}; `facend users list` shows all")


def _now() -> datetime:
    return datetime.now(UTC)
