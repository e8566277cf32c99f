"""The collection of cameras."""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from bson import ObjectId

from pipeline.base.redaction import secret_places
from store.collections.users import UserArgument, Users, UserStore
from store.errors import BadFilterError, BadValueError, ConflictError, StoreUnavailableError
from store.mongo.client import Database
from store.mongo.documents import SCHEMA, Model, checked_mapping
from store.mongo.guard import Filters
from store.observer import StoreObserver

ID = re.compile(r"[A-Za-z0-9_-]{1,44}")

UPDATE_ATTEMPTS = 5
"""Attempts at an update of a camera that is changed concurrently."""


class Camera(Model):
    """A camera: `_id` (ObjectId), `owner`, `id` (the cam_id of its faces), `url`, and its settings."""


class Cameras(UserStore[Camera]):
    """The cameras for video face detection. Their ids are unique for each owner."""

    name = "cameras"
    Model: TypeAlias = Camera
    _model = Camera
    protected = frozenset({"id", "password"})
    name_field = "id"

    def __init__(
        self,
        database: Database,
        users: Users,
        observer: StoreObserver | None = None,
        check: Callable[[Mapping[str, Any]], None] = lambda camera: None,
    ) -> None:
        """`check` raises BadValueError for a camera that the daemon could not use."""
        super().__init__(database, users, observer)
        self._check = check

    async def add(self, user: UserArgument | None, camera: Mapping[str, Any]) -> Camera:
        """Adds a camera. A missing `id` is generated.

        Raises:
            BadValueError: the data is not a mapping, the id is malformed, the daemon cannot use a field, or
                the data contains a password: passwords belong in the settings, the environment or
                systemd's credentials.
            ConflictError: the user has a camera of this id.
        """
        owner = await self._users.owner(user)
        model = Camera(checked_mapping(camera, "camera", ("id", "url")))
        model.setdefault("id", secrets.token_hex(8))
        _check_id_and_secrets(model)
        self._check(model)
        model.update(_id=ObjectId(), owner=owner, schema=SCHEMA)
        try:
            await self._insert(model)
        except ConflictError as error:
            raise ConflictError(f"there is a camera {model['id']} already", error.fields) from error
        return model

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        camera = {"id": secrets.token_hex(8)} | {key: part for key, part in given.items() if key != "owner"}
        _check_id_and_secrets(camera)
        self._check(camera)
        return {**await super()._upsert_defaults(given), "_id": ObjectId(), "id": camera["id"]}

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(update)
        for operator, fields in changes.items():
            if operator not in ("$set", "$unset"):
                raise BadFilterError(f"a camera's fields are changed by $set and $unset, not by {operator}")
            if inner := next((path for path in fields if "." in path), None):
                field = inner.partition(".")[0]
                raise BadFilterError(
                    f"the field {field} of a camera is changed whole, not {inner!r:.80} alone"
                )
            _refuse_secrets(fields)
        return changes

    async def _find_and_update(
        self, query: dict[str, Any], changes: dict[str, Any], options: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        """Check the result of the update, and apply it unless the camera has changed meanwhile."""
        if options.get("upsert"):  # `_upsert_defaults` has checked the new camera
            return await super()._find_and_update(query, changes, options)
        reading = {key: options[key] for key in ("collation", "hint", "sort") if key in options}
        for _ in range(UPDATE_ATTEMPTS):
            async with self._query("find_one", query) as max_time_ms:
                camera = await self._collection.find_one(query, max_time_ms=max_time_ms, **reading)
            if camera is None:
                return None
            self._check_result(camera, changes)
            same = {"$and": [query, {"_id": camera["_id"]}, _unchanged(camera, changes)]}
            if (updated := await super()._find_and_update(same, changes, options)) is not None:
                return updated
        raise StoreUnavailableError(
            f"{self.name}.update_one: the camera was changed concurrently {UPDATE_ATTEMPTS} times; try again"
        )

    def _check_result(self, camera: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """BadValueError where the update would make the camera unusable.

        A camera that is already unusable may be changed if that adds no fault, so that it can be disabled.
        """
        kept = {key: value for key, value in camera.items() if key not in changes.get("$unset", {})}
        try:
            self._check({**kept, **changes.get("$set", {})})
        except BadValueError as error:
            try:
                self._check(camera)
            except BadValueError as before:
                if str(before) == str(error):
                    return
            raise


def _unchanged(camera: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A filter that matches the document only while it is as it was read."""
    added = {field for fields in changes.values() for field in fields} - camera.keys()
    return {
        **{field: {"$eq": value} for field, value in camera.items()},
        **{field: {"$exists": False} for field in added},
    }


def _check_id_and_secrets(camera: Mapping[str, Any]) -> None:
    if not isinstance(camera["id"], str) or not ID.fullmatch(camera["id"]):
        raise BadValueError(
            f"a camera's id is 1 to 44 characters of A-Z a-z 0-9 _ -, not {camera['id']!r:.80}"
        )
    _refuse_secrets(camera)


def _refuse_secrets(fields: Filters) -> None:
    url = fields.get("url")
    if url is not None and not isinstance(url, str):
        raise BadValueError(f"a camera's url is text, not {type(url).__name__}")
    place = next(secret_places(fields), None)
    if place is not None:
        raise BadValueError(
            f"{place}: a secret is not stored in a document; `facend cameras add` keeps passwords on this "
            "box, otherwise put them in the settings or a credential"
        )
