"""Galleries: named sets of faces."""

import re
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

from bson import ObjectId

from store.collections.users import CACHE_SECONDS, UserArgument, Users, UserStore
from store.errors import ConflictError, GalleryError, NotFoundError, StoreStateError
from store.facens.storage import FacenStorage
from store.mongo.client import Database
from store.mongo.documents import SCHEMA, Model
from store.mongo.guard import Filters, Sort, owned
from store.mongo.malformed import malformed_document
from store.observer import StoreObserver

DEFAULT_GALLERY = "default"
"""The gallery of all faces, which every user has."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,48}")


class Gallery(Model):
    """A gallery: `_id` (ObjectId), `owner` (ObjectId), `name`."""


class Galleries(UserStore[Gallery]):
    """The galleries. Names are unique for each owner."""

    name = "galleries"
    Model: TypeAlias = Gallery
    _model = Gallery
    # The name is the key of the facen storage's galleries and of the faces' lists.
    protected = frozenset({"name"})
    name_field = "name"

    def __init__(
        self, database: Database, users: Users, facens: FacenStorage, observer: StoreObserver | None = None
    ) -> None:
        super().__init__(database, users, observer)
        self._database = database
        self._faces = database["faces"]
        self._facens = facens
        self._known: dict[tuple[ObjectId, str], float] = {}

    async def add(self, user: UserArgument | None, gallery: str) -> Gallery:
        """Creates a gallery.

        Raises:
            GalleryError: (a ValueError) the name is missing, malformed, or taken by this user.
        """
        owner = await self._users.owner(user)
        model = Gallery(_id=ObjectId(), owner=owner, name=checked_name(gallery), schema=SCHEMA)
        try:
            await self._insert(model)
        except ConflictError as error:
            raise GalleryError(f"there is a gallery {gallery} already") from error
        return model

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            **await super()._upsert_defaults(given),
            "_id": ObjectId(),
            "name": checked_name(given.get("name")),
        }

    async def ensure(self, user: UserArgument | None, gallery: str) -> Gallery:
        """The gallery of this name, created if it is missing.

        Raises:
            GalleryError: the name is malformed.
            StoreStateError: the gallery's document is malformed.
        """
        owner = await self._users.owner(user)
        if (found := await self._find_one({"owner": owner, "name": checked_name(gallery)})) is not None:
            return found
        try:
            return await self.add(owner, gallery)
        except GalleryError as error:
            # Another process created it meanwhile, or its document is malformed and no reader sees it.
            query = {"owner": owner, "name": gallery}
            if (found := await self._find_one(query)) is not None:
                return found
            if stored := await malformed_document(self._database, self.name, query):
                raise StoreStateError(
                    f"{stored}; correct or remove it in MongoDB, see `facend doctor`"
                ) from error
            raise

    async def require(self, owner: ObjectId, names: Iterable[str]) -> None:
        """Check that the owner has all of these galleries; a missing `default` is created.

        The answer is cached for a second. A removal by this process counts at once, one by another process
        within that second.

        Raises:
            GalleryError: a name is malformed.
            NotFoundError: there is no such gallery.
        """
        now = time.monotonic()
        for name in names:
            if self._known.get((owner, checked_name(name)), 0.0) > now:
                continue
            if name == DEFAULT_GALLERY:
                await self.ensure(owner, name)
            elif await self._find_one({"owner": owner, "name": name}) is None:
                raise NotFoundError(f"there is no gallery {name}; create it with Galleries.add")
            self._known[owner, name] = now + CACHE_SECONDS

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> Gallery | None:
        """Removes the first gallery that passes the filters, and every face from it; the faces stay.

        Raises:
            GalleryError: it is `default`, which every user has.
        """
        owner = await self._users.owner(user)
        found = await self._find_one(owned(filters, owner), sort)
        if found is None:
            return None
        name = found["name"]
        if name == DEFAULT_GALLERY:
            raise GalleryError(f"the gallery {name} cannot be removed")
        removed = await self._remove_one({"_id": found["_id"], "owner": owner}, None)
        self._known.pop((owner, name), None)
        await self._facens.drop(owner, name)
        async with self._operation("empty"):
            await self._faces.update_many({"owner": owner, "gallery": name}, {"$pull": {"gallery": name}})
        return removed


def checked_name(name: object) -> str:
    """The name; raises GalleryError if it is not valid for a gallery."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise GalleryError(f"a gallery's name is 1 to 48 characters of A-Z a-z 0-9 _ -, not {name!r:.80}")
    return str(name)  # a plain str: BSON has subclasses


def checked_names(galleries: object) -> list[str]:
    """The names of a non-empty list; raises GalleryError."""
    if (
        isinstance(galleries, str)
        or not isinstance(galleries, (list, tuple, set, frozenset))
        or not galleries
    ):
        raise GalleryError(f"galleries are a non-empty list of names, not {galleries!r:.80}")
    return [checked_name(name) for name in galleries]
