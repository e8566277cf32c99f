"""The faces: adding, galleries, and the search for similar ones."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, cast

from bson import ObjectId
from pymongo import ReturnDocument

from pipeline.types import Facen
from store.collections.galleries import Galleries, checked_names
from store.collections.users import UserArgument, Users, UserStore
from store.errors import (
    BadValueError,
    ConflictError,
    FacenExistsError,
    FacenStorageError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from store.face import Face, check_face
from store.face_fields import (
    CORNERS,
    check_changes,
    checked_bbox,
    facen_of,
    moment_of,
    stored_filters,
    stored_options,
    stored_sort,
)
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import FaceLocks
from store.facens.sync.load import check_pack, fill
from store.mongo.client import Database
from store.mongo.documents import SCHEMA
from store.mongo.guard import (
    Filters,
    Sort,
    checked_filters,
    checked_id,
    checked_limit,
    checked_threshold,
    owned,
)
from store.mongo.ids import TimeOrderedIds, first_id_of
from store.mongo.query_limits import check_number, max_documents
from store.observer import StoreObserver
from store.recognition.nearest import IdentifyResult, IdentifyResults, nearest

ID_TRIES = 4
"""The first, and three more after a conflict."""
NETWORK_TRIES = 2
OVERLAP = timedelta(minutes=10)
"""Maximum time between the creation of a face's id and its addition to a gallery."""


class Completed(Awaitable[None]):
    """The result of a synchronous method, which may be awaited like those of the others."""

    def __await__(self) -> Generator[None]:
        return
        yield


COMPLETED = Completed()


class Faces(UserStore[Face]):
    """The faces.

    MongoDB holds them; the facen storage holds a copy of their facens for each gallery. Only
    `add_to_galleries` and `del_from_galleries` change which galleries a face is in.
    """

    name = "faces"
    Model: TypeAlias = Face
    _model = Face
    # Keys of the face object must not become fields of the document, which they would hide.
    protected = frozenset({"gallery", "galleries", "id", "bbox", "facen", "sighting_id", "person_changes"})

    def __init__(
        self,
        database: Database,
        users: Users,
        galleries: Galleries,
        facens: FacenStorage,
        observer: StoreObserver | None = None,
        facen_size: int | None = None,
    ) -> None:
        """`facen_size`: how many numbers a facen of the model pack has; None takes any."""
        super().__init__(database, users, observer)
        self._galleries = galleries
        self._facens = facens
        self.facen_size = facen_size
        self.locks = FaceLocks()
        self._ids = TimeOrderedIds()
        self._caught_up: dict[tuple[ObjectId, str], float] = {}
        self._opened = time.time()

    async def add(self, user: UserArgument | None, face: Face) -> Face:
        """Stores a face in MongoDB, in no gallery yet, with its `_id` and `owner`; returns the same object.

        A face without an id gets one, and up to three others if it is in use. If the connection breaks, the
        face is sent again and stored once.

        Raises:
            ConflictError: the face's own id, or its `sighting_id`, is taken; or three new ids were.
            BadValueError: something in the face cannot be stored.
        """
        owner = await self._users.owner(user)
        check_face(face, self.facen_size)
        own_id = "_id" in face
        face.normalize_values()
        face["owner"], face["gallery"], face["schema"] = owner, [], SCHEMA
        if not own_id:
            self.regenerate_id(face)
        try:
            for rest in reversed(range(1 if own_id else ID_TRIES)):
                try:
                    await self._insert_once(face)
                    break
                except ConflictError as error:
                    if not rest or error.fields != ("_id",):
                        raise ConflictError(_conflict(face, error, own_id), error.fields) from error
                    self.regenerate_id(face)
        except StoreError as error:
            if not own_id and not isinstance(error, StoreUnavailableError):
                # The id stays if the face may be stored: a second add finds out.
                del face["_id"]
            raise
        return face

    def _filters(self, filters: Filters | None) -> Filters | None:
        return cast("Filters | None", stored_filters(filters))

    def _sort(self, sort: Sort | None) -> list[tuple[str, int]] | None:
        return super()._sort(stored_sort(sort))

    def _checked_update(
        self, update: object, return_document: object, kwargs: Mapping[str, object]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return super()._checked_update(update, return_document, stored_options(kwargs))

    def wrap_in_model(self, obj: Mapping[str, Any]) -> Face:
        return Face.wrapping(obj)

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(_as_fields(update))
        check_changes(changes)
        return changes

    async def _completing(self, given: dict[str, Any]) -> dict[str, Any]:
        face = Face(given)
        face.setdefault("_id", self._ids.next())
        check_face(face, self.facen_size)
        return {**await super()._completing(given), "_id": face["_id"], "gallery": []}

    async def _insert_once(self, face: Face) -> None:
        """Insert, also if the connection breaks and it is unknown whether the face was stored."""
        document = OrderedDict(face.document())
        for rest in reversed(range(NETWORK_TRIES)):
            try:
                await self._insert(document)
            except StoreUnavailableError:
                if not rest:
                    raise
            except ConflictError:
                first_try = rest == NETWORK_TRIES - 1
                if first_try or not await self._holds(document):
                    raise
                return
            else:
                return

    async def _holds(self, document: Mapping[str, Any]) -> bool:
        found = await self._find_one({"_id": document["_id"]})
        return found is not None and found.document() == document

    def regenerate_id(self, face: Face) -> Awaitable[None]:
        """Replaces the face's id with a new one, later than every id made before.

        The id is in the face when this returns. Awaiting the result is allowed and does nothing.
        """
        if not isinstance(face, Face):
            raise BadValueError(f"a face is a Faces.Model, not {type(face).__name__}")
        face["_id"] = self._ids.next()
        face.move_to_end("_id", last=False)
        return COMPLETED

    async def add_to_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Adds a stored face to galleries: each to the facen storage, and what succeeded to MongoDB.

        Raises:
            FacenExistsError: it is in one of them already; it has been added to the others.
            FacenStorageError: a shard failed; it has been added to the galleries that did not.
            NotFoundError: a gallery, or the stored face, does not exist; nothing is changed.
            GalleryError: a name is malformed; nothing is changed.
            BadValueError: its facen is of another model pack; nothing is changed.
        """
        owner, names = await self._place(face, galleries)
        await self._galleries.require(owner, names)
        facen = facen_of(face, self.facen_size)
        check_pack(self._facens, face)
        async with self.locks.of(face["_id"]):
            await self._add_to_galleries(owner, face, names, facen)

    async def complete_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Adds a stored face to those of these galleries that it is not in; may be repeated after any crash.

        Errors as `add_to_galleries`, but for FacenExistsError.
        """
        missing = [gallery for gallery in galleries if gallery not in face.galleries]
        if not missing:
            return
        try:
            await self.add_to_galleries(face, missing)
        except FacenExistsError:
            # An earlier attempt ended between the facen storage and MongoDB: once more, from the start.
            missing = [gallery for gallery in galleries if gallery not in face.galleries]
            await self.del_from_galleries(face, missing)
            await self.add_to_galleries(face, missing)

    async def _add_to_galleries(self, owner: ObjectId, face: Face, names: list[str], facen: Facen) -> None:
        done, failures = [], []
        for name in names:
            try:
                await self._facens.add(owner, name, face["_id"], facen)
                done.append(name)
            except FacenStorageError as error:
                failures.append(error)
        if done:
            try:
                await self._list_galleries(owner, face, {"$addToSet": {"gallery": {"$each": done}}})
            except StoreError:
                # The document does not list them, so the storage must not have them.
                for name in done:
                    await self._facens.remove(owner, name, face["_id"])
                raise
        if failures:
            raise failures[0]

    async def del_from_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Removes a face from galleries: each from the facen storage, and what succeeded from MongoDB.

        A face that is not there counts as removed.

        Raises:
            FacenStorageError: a shard failed; it has been removed from the galleries that did not.
            NotFoundError: the stored face does not exist.
        """
        owner, names = await self._place(face, galleries)
        async with self.locks.of(face["_id"]):
            await self._del_from_galleries(owner, face, names)

    async def _del_from_galleries(self, owner: ObjectId, face: Face, names: list[str]) -> None:
        done, failures = [], []
        for name in names:
            try:
                await self._facens.remove(owner, name, face["_id"])
                done.append(name)
            except FacenStorageError as error:
                failures.append(error)
        if done:
            await self._list_galleries(owner, face, {"$pullAll": {"gallery": done}})
        if failures:
            raise failures[0]

    async def _place(self, face: Face, galleries: Sequence[str]) -> tuple[ObjectId, list[str]]:
        if not isinstance(face, Face) or "_id" not in face or "owner" not in face:
            raise BadValueError("this face is not stored yet; store it with Faces.add first")
        checked_id(face["_id"], "face")
        return await self._users.owner(face["owner"]), checked_names(galleries)

    async def _list_galleries(self, owner: ObjectId, face: Face, change: dict[str, Any]) -> None:
        async with self._operation("galleries"):
            document = await self._collection.find_one_and_update(
                {"_id": face["_id"], "owner": owner},
                change,
                projection={"gallery": 1},
                return_document=ReturnDocument.AFTER,
            )
        if document is None:
            raise NotFoundError(f"there is no stored face {face['_id']}; store it with Faces.add first")
        face["gallery"] = document.get("gallery") or []

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> Face | None:
        """Removes the first face that passes the filters, from its galleries too; its pictures stay."""
        owner = await self._users.owner(user)
        removed = await self._remove_one(owned(self._filters(filters), owner), sort)
        if removed is not None:
            for name in removed.galleries:
                await self._facens.remove(owner, name, removed["_id"])
        return removed

    async def identify(
        self,
        user: UserArgument | None,
        gallery: str | Sequence[str],
        face: Mapping[str, Any],
        limit: int,
        threshold: float,
        filters: Filters | None = None,
        ignore_errors: bool = False,
    ) -> IdentifyResults:
        """The faces of the galleries that resemble this one, best first.

        Args:
            face: a face or an ExtractionFace.
            limit: maximum number of faces; filters apply before it.
            threshold: minimum confidence, 0 to 1.
            ignore_errors: search the remaining shards when one is out of service.

        Raises:
            NotFoundError: there is no such gallery.
            FacenStorageError: a shard is out of service, and `ignore_errors` is False.
        """
        owner = await self._users.owner(user)
        names = checked_names([gallery] if isinstance(gallery, str) else gallery)
        await self._galleries.require(owner, names)
        facen = facen_of(face, self.facen_size)
        wanted, least = checked_limit(limit), checked_threshold(threshold)
        if not wanted:
            raise BadValueError("limit is a whole number from 1, not None")
        query = checked_filters(self._filters(filters))
        if most := max_documents():
            wanted = min(wanted, most + 1)
        where = (self._collection, self._facens, owner, names)
        async with self._query("identify", query) as max_time_ms:
            found = await nearest(*where, facen, wanted, least, query, ignore_errors, max_time_ms)
        check_number(len(found.faces))
        results = [IdentifyResult(self.wrap_in_model(document), sure) for document, sure in found.faces]
        if not ignore_errors:
            return IdentifyResults(results)
        return IdentifyResults(results, found.live_servers, found.total_servers)

    async def catch_up(self, user: UserArgument | None, gallery: str, *, everything: bool = False) -> None:
        """Load the faces that other processes added to a gallery into this process's facen storage.

        `everything`: also those from before this process started, if it was opened without `fill`.
        """
        owner = await self._users.owner(user)
        now = time.time()
        since = (
            0.0
            if everything
            else self._caught_up.get((owner, gallery), self._opened) - OVERLAP.total_seconds()
        )
        query = {"owner": owner, "gallery": gallery, "_id": {"$gte": first_id_of(int(since * 1000))}}
        async with self._operation("catch_up"):
            await fill(self._collection, self._facens, query)
        self._caught_up[owner, gallery] = now


CoreFaces = Faces
"""The name under which the reference has `ServerFaces` extend `Faces`."""


def _as_fields(update: object) -> object:
    """The update with the face object's properties as fields of the document; operators stay as they are."""
    if not isinstance(update, Mapping) or any(str(key).startswith("$") for key in update):
        return update
    fields: dict[Any, Any] = {}
    for key, value in update.items():
        if key == "bbox":
            fields |= zip(CORNERS, checked_bbox(value), strict=True)
        else:
            fields[key] = moment_of(value) if key == "timestamp" and isinstance(value, str) else value
    return fields


def _conflict(face: Face, error: ConflictError, own_id: bool) -> str:
    if error.fields != ("_id",):
        return f"a face with the same {' and '.join(error.fields)} is stored already"
    if own_id:
        return f"there is a face {face['_id']} already; leave the id out to get a new one"
    return f"{ID_TRIES} new ids for the face were all taken; the clock of this machine may stand still"
