"""Cameras as documents."""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from bson import ObjectId

from pipeline.base.redaction import secret_places
from store.collections.users import UserArgument, Users, UserStore
from store.errors import BadValueError, ConflictError
from store.mongo.client import Database
from store.mongo.guard import Filters
from store.mongo.model_store import SCHEMA, Model, checked_mapping
from store.observer import StoreObserver

ID = re.compile(r"[A-Za-z0-9_-]{1,44}")

PLAIN_CAMERA: Mapping[str, Any] = {"id": "camera", "url": "rtsp://camera.example/"}
"""A camera without peculiarities, on which the fields of an update are tried."""


class Camera(Model):
    """A camera: `_id` (ObjectId), `owner`, `id` (the cam_id of its faces), and what else describes it."""


class Cameras(UserStore[Camera]):
    """The cameras for video face detection. Their ids are unique for each owner."""

    name = "cameras"
    Model: TypeAlias = Camera
    _model = Camera
    protected = frozenset({"id", "password"})
    name_field = "id"
    set_whole = frozenset({"name", "url"})

    def __init__(
        self,
        database: Database,
        users: Users,
        observer: StoreObserver | None = None,
        check: Callable[[Mapping[str, Any]], None] = lambda camera: None,
    ) -> None:
        """`check` raises BadValueError for fields of a camera that its readers could not use."""
        super().__init__(database, users, observer)
        self._check = check

    async def add(self, user: UserArgument | None, camera: Mapping[str, Any]) -> Camera:
        """Adds a camera. A missing `id` is made.

        Raises:
            BadValueError: the data is no mapping, the id malformed, a field has a value that the daemon
                could not use, or there is a password in it: passwords belong into the settings, the
                environment or systemd's credentials.
            ConflictError: the user has a camera of this id.
        """
        owner = await self._users.owner(user)
        model = Camera(checked_mapping(camera, "camera", ("id", "url")))
        model.setdefault("id", secrets.token_hex(8))
        _check_own(model)
        self._check(model)
        model.update(_id=ObjectId(), owner=owner, schema=SCHEMA)
        try:
            await self._insert(model)
        except ConflictError as error:
            raise ConflictError(f"there is a camera {model['id']} already", error.fields) from error
        return model

    async def _completing(self, given: dict[str, Any]) -> dict[str, Any]:
        camera = {"id": secrets.token_hex(8)} | {key: part for key, part in given.items() if key != "owner"}
        _check_own(camera)
        self._check(camera)
        return {**await super()._completing(given), "_id": ObjectId(), "id": camera["id"]}

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(update)
        self._check({**PLAIN_CAMERA, **changes.get("$set", {})})
        for operator, fields in changes.items():
            _refuse_secrets(fields)
            if operator == "$rename":
                _refuse_secrets(dict.fromkeys(map(str, fields.values()), "renamed"))
        return changes


def _check_own(camera: Mapping[str, Any]) -> None:
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
            "box, else put it into the settings or a credential"
        )
