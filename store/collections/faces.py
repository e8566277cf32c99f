"""The collection of faces: adding, galleries, and the search for similar faces."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, cast

from bson import ObjectId

from store.collections.galleries import Galleries, checked_names
from store.collections.gallery_membership import GalleryMembership
from store.collections.users import UserArgument, Users, UserStore
from store.errors import (
    BadValueError,
    ConflictError,
    FacenExistsError,
    StoreError,
    StoreUnavailableError,
)
from store.face import Face, check_face
from store.face_fields import (
    check_changes,
    facen_of,
    stored_filters,
    stored_options,
    stored_sort,
    stored_update,
)
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import FaceLocks
from store.facens.sync.load import check_pack, load_facens
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
from store.visits.visit_document import FACE_FIELDS, key_of
from store.visits.visit_documents import VisitDocuments

ID_ATTEMPTS = 4
"""The first attempt, and three more after conflicts."""
NETWORK_ATTEMPTS = 2
OVERLAP = timedelta(minutes=10)
"""Maximum time between the creation of a face's id and its addition to a gallery."""


class CompletedAwaitable(Awaitable[None]):
    """Lets the result of a synchronous method be awaited, as in the contract."""

    def __await__(self) -> Generator[None]:
        return
        yield


class Faces(UserStore[Face]):
    """The faces. MongoDB stores them; the facen storage has a copy of their facens for each gallery.

    Only `add_to_galleries` and `del_from_galleries` change the galleries of a face.
    """

    name = "faces"
    Model: TypeAlias = Face
    _model = Face
    # Includes keys of the face object: fields of these names in the document would hide its values.
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
        """`facen_size`: size of the model pack's facens; None accepts any."""
        super().__init__(database, users, observer)
        self._galleries = galleries
        self._facens = facens
        self._membership = GalleryMembership(self._collection, facens, self._operation)
        self._visits = VisitDocuments(database)
        self.facen_size = facen_size
        self._ids = TimeOrderedIds()
        self._caught_up: dict[tuple[ObjectId, str], float] = {}
        self._opened = time.time()

    @property
    def locks(self) -> FaceLocks:
        """One lock per face, against concurrent changes of its galleries."""
        return self._membership.locks

    async def add(self, user: UserArgument | None, face: Face) -> Face:
        """Store a face in MongoDB, in no gallery; returns the same object with `_id` and `owner`.

        A face without an id gets one, and after a conflict another, up to three times. If the connection
        breaks, the face is sent again, and stored once.

        Raises:
            ConflictError: the face's own id or its `sighting_id` is in use, or all new ids were.
            BadValueError: a value of the face cannot be stored.
        """
        owner = await self._users.owner(user)
        check_face(face, self.facen_size)
        id_given = "_id" in face
        face.normalize_values()
        face["owner"], face["gallery"], face["schema"] = owner, [], SCHEMA
        if not id_given:
            self.regenerate_id(face)
        try:
            for remaining in reversed(range(1 if id_given else ID_ATTEMPTS)):
                try:
                    await self._insert_once(face)
                    break
                except ConflictError as error:
                    if not remaining or error.fields != ("_id",):
                        raise ConflictError(_conflict(face, error, id_given), error.fields) from error
                    self.regenerate_id(face)
        except StoreError as error:
            if not id_given and not isinstance(error, StoreUnavailableError):
                # After a lost connection the face may be stored, so it keeps its id for a second `add`.
                del face["_id"]
            raise
        await self.refresh_visit(face)
        return face

    async def refresh_visit(self, face: Face) -> None:
        """Compute the visit of a stored face, for a caller that completes an interrupted `add`."""
        if (key := key_of(face.fields())) is not None:
            await self._visits.refresh([key])

    async def _update_one(
        self,
        query: dict[str, Any],
        update: Mapping[str, Any],
        sort: Sort | None,
        return_document: bool,
        kwargs: Mapping[str, object],
    ) -> Face | None:
        changes, _ = self._checked_update(update, return_document, kwargs)
        if not _reach_visits(changes):
            return await super()._update_one(query, update, sort, return_document, kwargs)
        before = await self._find_one(query, sort)
        async with self._visits.changing([] if before is None else [key_of(before.fields())]) as visits:
            found = await super()._update_one(query, update, sort, return_document, kwargs)
            if found is not None:
                this = {"_id": found["_id"], "owner": found["owner"]}
                visits |= await self._visits.keys_of_faces(this)
        return found

    async def _remove_one(self, query: dict[str, Any], sort: Sort | None) -> Face | None:
        before = await self._find_one(query, sort)
        async with self._visits.changing([] if before is None else [key_of(before.fields())]) as visits:
            removed = await super()._remove_one(query, sort)
            if removed is not None and (key := key_of(removed.fields())) is not None:
                visits.add(key)
        return removed

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
        changes = super()._changes(stored_update(update))
        check_changes(changes)
        return changes

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        face = Face(given)
        face.setdefault("_id", self._ids.next())
        check_face(face, self.facen_size)
        return {**await super()._upsert_defaults(given), "_id": face["_id"], "gallery": []}

    async def _insert_once(self, face: Face) -> None:
        """Insert exactly once, even if the connection breaks during the call."""
        document = OrderedDict(face.document())
        for remaining in reversed(range(NETWORK_ATTEMPTS)):
            try:
                await self._insert(document)
            except StoreUnavailableError:
                if not remaining:
                    raise
            except ConflictError:
                is_first = remaining == NETWORK_ATTEMPTS - 1
                if is_first or not await self._is_stored(document):
                    raise
                return
            else:
                return

    async def _is_stored(self, document: Mapping[str, Any]) -> bool:
        found = await self._find_one({"_id": document["_id"]})
        return found is not None and found.document() == document

    def regenerate_id(self, face: Face) -> Awaitable[None]:
        """Replace the face's id with a new one, greater than all ids generated before.

        Takes effect before it returns. The result may be awaited, which does nothing.
        """
        if not isinstance(face, Face):
            raise BadValueError(f"a face is a Faces.Model, not {type(face).__name__}")
        face["_id"] = self._ids.next()
        face.move_to_end("_id", last=False)
        return CompletedAwaitable()

    async def add_to_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Add a stored face to galleries: to each in the facen storage, then to the succeeded ones in
        MongoDB.

        Raises:
            FacenExistsError: it is already in one of them; it was added to the others.
            FacenStorageError: a shard failed; it was added to the galleries of the other shards.
            NotFoundError: a gallery, or the stored face, does not exist; nothing was changed.
            GalleryError: a name is malformed; nothing was changed.
            BadValueError: its facen is of another model pack; nothing was changed.
        """
        owner, names = await self._owner_and_names(face, galleries)
        await self._galleries.require(owner, names)
        facen = facen_of(face, self.facen_size)
        check_pack(self._facens, face)
        await self._membership.add(owner, face, names, facen)

    async def complete_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Add a stored face to those of the galleries that it is missing from. Can be repeated after a crash.

        Raises as `add_to_galleries`, except FacenExistsError.
        """
        missing = [gallery for gallery in galleries if gallery not in face.galleries]
        if not missing:
            return
        try:
            await self.add_to_galleries(face, missing)
        except FacenExistsError:
            # An earlier attempt ended after the facen storage and before MongoDB.
            missing = [gallery for gallery in galleries if gallery not in face.galleries]
            await self.del_from_galleries(face, missing)
            await self.add_to_galleries(face, missing)

    async def del_from_galleries(self, face: Face, galleries: Sequence[str]) -> None:
        """Remove a face from galleries: from each in the facen storage, then from the succeeded ones in
        MongoDB.

        A face that is not in a gallery counts as removed.

        Raises:
            FacenStorageError: a shard failed; it was removed from the galleries of the other shards.
            NotFoundError: the stored face does not exist.
        """
        owner, names = await self._owner_and_names(face, galleries)
        await self._membership.remove(owner, face, names)

    async def _owner_and_names(self, face: Face, galleries: Sequence[str]) -> tuple[ObjectId, list[str]]:
        if not isinstance(face, Face) or "_id" not in face or "owner" not in face:
            raise BadValueError("this face is not stored yet; store it with Faces.add first")
        checked_id(face["_id"], "face")
        return await self._users.owner(face["owner"]), checked_names(galleries)

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> Face | None:
        """Remove the first face that passes the filters, and its facens; its pictures are kept."""
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
        """Search galleries for similar faces, best first.

        Args:
            face: a face or an ExtractionFace.
            limit: maximum number of faces; filters apply before it.
            threshold: minimum confidence, 0 to 1.
            ignore_errors: if shards are down, search the others.

        Raises:
            NotFoundError: there is no such gallery.
            FacenStorageError: a shard is down, and `ignore_errors` is False.
        """
        owner = await self._users.owner(user)
        names = checked_names([gallery] if isinstance(gallery, str) else gallery)
        await self._galleries.require(owner, names)
        facen = facen_of(face, self.facen_size)
        wanted, min_confidence = checked_limit(limit), checked_threshold(threshold)
        if not wanted:
            raise BadValueError("limit is a whole number from 1, not None")
        query = checked_filters(self._filters(filters))
        if most := max_documents():
            wanted = min(wanted, most + 1)
        where = (self._collection, self._facens, owner, names)
        async with self._query("identify", query) as max_time_ms:
            found = await nearest(*where, facen, wanted, min_confidence, query, ignore_errors, max_time_ms)
        check_number(len(found.faces))
        results = [
            IdentifyResult(self.wrap_in_model(document), confidence) for document, confidence in found.faces
        ]
        if not ignore_errors:
            return IdentifyResults(results)
        return IdentifyResults(results, found.live_servers, found.total_servers)

    async def catch_up(self, user: UserArgument | None, gallery: str, *, everything: bool = False) -> None:
        """Load faces that other processes added to a gallery into this process's facen storage.

        `everything`: include faces from before this process started, if it was opened without `load_facens`.
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
            await load_facens(self._collection, self._facens, query)
        self._caught_up[owner, gallery] = now


CoreFaces = Faces
"""The contract's name for the base class of `ServerFaces`."""


def _reach_visits(changes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an update changes a field that the documents of visits depend on."""
    paths = {path for fields in changes.values() for path in fields}
    paths |= {str(target) for target in changes.get("$rename", {}).values()}
    return not FACE_FIELDS.isdisjoint(path.partition(".")[0] for path in paths)


def _conflict(face: Face, error: ConflictError, id_given: bool) -> str:
    if error.fields != ("_id",):
        return f"a face with the same {' and '.join(error.fields)} is stored already"
    if id_given:
        return f"there is a face {face['_id']} already; leave the id out to get a new one"
    return f"{ID_ATTEMPTS} new ids for the face were all taken; the clock of this machine may have stopped"
