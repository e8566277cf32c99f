"""The persons: whom a face shows, and who is a friend of a camera."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from bson import ObjectId

from store.collections.faces import Faces
from store.collections.friends import FriendRule, days_seen
from store.collections.galleries import Galleries, checked_names
from store.collections.person_counts import PersonCounts
from store.collections.person_ids import PersonIds
from store.collections.person_resolution import PersonMatch, PersonResolver
from store.collections.users import UserArgument, Users, UserStore
from store.errors import BadValueError, ConflictError, StoreStateError
from store.face_fields import facen_of
from store.facens.storage import FacenStorage
from store.mongo.client import Database
from store.mongo.counters import Counters
from store.mongo.documents import SCHEMA, Model, checked_mapping
from store.mongo.guard import Filters, Sort, checked_filters, checked_id, checked_threshold, owned
from store.mongo.lease import Leases
from store.mongo.malformed import malformed_document
from store.mongo.shapes import PROVISIONAL
from store.observer import StoreObserver
from store.recognition.question import Question
from store.recognition.recognition import Recognition
from store.recognition.rules import RecognitionRules
from store.recognition.thresholds import AutoThreshold, Threshold
from store.recognition.visit_evidence import VisitEvidence
from store.settings import PersonsSettings
from store.visits.visit_documents import VisitDocuments

FIELDS: Mapping[str, tuple[type, str]] = {"created": (datetime, "a time"), "sighting_id": (str, "text")}
"""Types of a person's fields, and their names in errors."""


class Person(Model):
    """A person: `_id` (the person_id, uint64), `owner`, `created` (a time), and other fields."""


class Persons(UserStore[Person]):
    """The persons. Their ids are small numbers, counted up."""

    name = "persons"
    Model: TypeAlias = Person
    _model = Person
    protected = frozenset({"sighting_id", PROVISIONAL})
    set_whole = frozenset({"name", "created"})

    def __init__(
        self,
        database: Database,
        users: Users,
        faces: Faces,
        galleries: Galleries,
        counters: Counters,
        facens: FacenStorage,
        settings: PersonsSettings,
        observer: StoreObserver | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(database, users, observer)
        self._faces = faces
        self._face_documents = database[Faces.name]
        self._galleries = galleries
        self._database = database
        self._visits = VisitDocuments(database)
        self._ids = PersonIds(database, counters)
        self._counts = PersonCounts(self._collection, facens)
        self.rules = RecognitionRules.from_settings(settings)
        recognition = Recognition(self._face_documents, self._collection, facens, self.rules)
        self._resolver = PersonResolver(recognition, faces, Leases(database), self._query)
        self._friends = FriendRule(settings.friend_count, settings.friend_interval_days, settings.zone)
        self._settings = settings
        self._now = now

    def gallery_of(self, cam_id: str) -> str:
        """The gallery in which the visitors of a camera are searched."""
        return self._settings.person_gallery(cam_id)

    async def threshold_for(self, user: UserArgument | None, gallery: str, threshold: Threshold) -> float:
        """The minimum confidence for a search in the gallery: fixed, or for the current number of persons."""
        if not isinstance(threshold, AutoThreshold):
            return threshold
        owner = await self._users.owner(user)
        async with self._operation("count"):
            return threshold.for_gallery(await self._counts.count_candidates(owner, gallery))

    async def add(self, user: UserArgument | None, person: Mapping[str, Any]) -> Person:
        """Creates a person. Without an `_id` it gets the next free one.

        Raises:
            BadValueError: the data is not a mapping, the id not a uint64 below 2^63, or a field is of the
                wrong type.
            ConflictError: the id, or the `sighting_id`, is taken.
        """
        owner = await self._users.owner(user)
        model = Person(checked_mapping(person, "person"))
        if PROVISIONAL in model:
            raise BadValueError(f"a person's {PROVISIONAL} is set by identify only; leave it out")
        _check_fields(model)
        return await self._create(owner, model)

    async def _create(self, owner: ObjectId, model: Person) -> Person:
        id_given = "_id" in model
        if id_given:
            checked_id(model["_id"], "person")
        model.update(owner=owner, schema=SCHEMA)
        model.setdefault("created", _to_milliseconds(self._now()))
        while True:
            if not id_given:
                model["_id"] = await self._ids.next()
            try:
                await self._insert(model)
            except ConflictError as error:
                if id_given or error.fields != ("_id",):
                    raise
                await self._ids.skip(model["_id"])
            else:
                self._counts.increment(owner)
                return model

    async def _upsert_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        _check_fields(given)
        if "_id" in given:
            checked_id(given["_id"], "person")
        new = {"_id": given["_id"] if "_id" in given else await self._ids.next()}
        new["created"] = given.get("created", _to_milliseconds(self._now()))
        return {**await super()._upsert_defaults(given), **new}

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(update)
        _check_fields(changes.get("$set", {}))
        return changes

    async def identify(
        self,
        user: UserArgument | None,
        face: Mapping[str, Any],
        gallery: str | Sequence[str],
        threshold: float,
        create: bool = False,
        filters: Filters | None = None,
    ) -> int | list[int] | None:
        """The person_id of the most similar face that has one.

        For the name of one gallery: a person_id, or None if no person is similar enough and none was
        created. For a list of galleries: the person_ids found, each once, the most similar first; or the new
        one alone.

        With `create`, a face from a picture creates a person if none is similar enough. A face of a camera,
        which has its visit in `detector_info`, creates one only by the rules for sightings, see `resolve`.
        Concurrent calls for the same new face create one person. Raises as `resolve`.
        """
        if isinstance(gallery, str):
            return (await self.resolve(user, face, gallery, threshold, create, filters)).person_id
        matches = await self._resolve(user, face, checked_names(gallery), threshold, create, filters)
        return list(dict.fromkeys(match.person_id for match in matches if match.person_id is not None))

    async def resolve(
        self,
        user: UserArgument | None,
        face: Mapping[str, Any],
        gallery: str,
        threshold: float,
        create: bool = False,
        filters: Filters | None = None,
    ) -> PersonMatch:
        """As `identify`, with the outcome and the confidence.

        A face with the `sighting_id` of a person that was already created gets that person. For a face of a
        camera, a search in a person gallery compares the enrolled people first, then the references of the
        gallery's persons; co-visible persons are excluded, the person of the same visit is preferred, and
        `store.recognition.rules` decides about new persons.

        Raises:
            NotFoundError: there is no such gallery.
            BadValueError: the face has no facen, or the threshold is invalid.
            FacenStorageError: a shard is out of service.
            StoreStateError: a malformed document must be corrected first.
        """
        matches = await self._resolve(user, face, checked_names([gallery]), threshold, create, filters)
        return matches[0]

    async def _resolve(
        self,
        user: UserArgument | None,
        face: Mapping[str, Any],
        galleries: list[str],
        threshold: float,
        create: bool,
        filters: Filters | None,
    ) -> list[PersonMatch]:
        """The matches, best first; at least one, which may have no person."""
        if not isinstance(create, bool):
            raise BadValueError(f"create is True or False, not {type(create).__name__}")
        question = await self._question(user, face, galleries, threshold, filters)
        sighting = face.get("sighting_id") if create else None
        if not isinstance(sighting, str | None):
            raise BadValueError(f"a face's sighting_id is text, not {type(sighting).__name__}")
        if sighting is not None:
            known = await self._find_one({"owner": question.owner, "sighting_id": sighting})
            if known is not None:
                return [PersonMatch(known["_id"], "created", confidence=None)]

        async def create_person(fields: Mapping[str, Any]) -> int:
            person = Person(fields) if sighting is None else Person(fields, sighting_id=sighting)
            return int((await self._create_for_sighting(question.owner, person))["_id"])

        return await self._resolver.resolve(question, create_person if create else None)

    async def _question(
        self,
        user: UserArgument | None,
        face: Mapping[str, Any],
        galleries: list[str],
        threshold: float,
        filters: Filters | None,
    ) -> Question:
        owner = await self._users.owner(user)
        facen = facen_of(face, self._faces.facen_size)
        names = tuple(dict.fromkeys(galleries))
        query = checked_filters(filters)
        visit, key = VisitEvidence.from_face(face), face.get("_id", face.get("id"))
        question = Question(owner, names, facen, checked_threshold(threshold), query, visit, key)
        await self._galleries.require(owner, names)
        return question

    async def _create_for_sighting(self, owner: ObjectId, model: Person) -> Person:
        """As `_create`; the error names a malformed person of the same sighting, which readers do not see."""
        try:
            return await self._create(owner, model)
        except ConflictError as error:
            same = {"owner": owner, "sighting_id": model.get("sighting_id")}
            if stored := await malformed_document(self._database, self.name, same):
                raise StoreStateError(
                    f"{stored}; correct or remove it in MongoDB, see `facend doctor`"
                ) from error
            raise

    def exclusive(self, owner: ObjectId, galleries: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Lock the creation and merging of persons in these person galleries, across all processes.

        Inside the block the facen storage has the faces that other processes added. Hold it for a few seconds
        at most.
        """
        return self._resolver.exclusive(owner, galleries)

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> Person | None:
        """Removes the first person that passes the filters; their faces stay, without a person."""
        owner = await self._users.owner(user)
        removed = await self._remove_one(owned(filters, owner), sort)
        if removed is not None:
            await self._visits.mark_person(owner, removed["_id"])
            async with self._operation("forget"):
                await self._face_documents.update_many(
                    {"owner": owner, "person_id": removed["_id"]}, {"$unset": {"person_id": ""}}
                )
            await self._visits.refresh_outdated(owner)
        return removed

    async def _update_one(
        self,
        query: dict[str, Any],
        update: Mapping[str, Any],
        sort: Sort | None,
        return_document: bool,
        kwargs: Mapping[str, object],
    ) -> Person | None:
        changes, _ = self._checked_update(update, return_document, kwargs)
        found = await super()._update_one(query, update, sort, return_document, kwargs)
        if found is not None and any("name" in fields for fields in changes.values()):
            await self._visits.rename(found["owner"], found["_id"])
        return found

    async def is_friend(self, user: UserArgument | None, person_id: int | None, cam_id: str) -> bool:
        """Whether the camera has seen the person on enough calendar days of the friend interval.

        Days are in the site's time zone and include today. False for the person None.
        """
        owner = await self._users.owner(user)
        if person_id is None:
            return False
        return self._friends.is_friend(await self._days(owner, person_id, cam_id, self._now()))

    def as_of(self, moment: datetime) -> "Persons":
        """The same collection, with the friend interval that ends at this time.

        For sightings that waited in the spool: the days before their capture count.
        """
        copied = copy.copy(self)
        copied._now = lambda: moment
        return copied

    async def friend_days(self, user: UserArgument | None, person_id: int, cam_id: str) -> list[date]:
        """The calendar days within the interval on which the camera has seen the person, in order."""
        return await self._days(await self._users.owner(user), person_id, cam_id, self._now())

    async def _days(self, owner: ObjectId, person_id: int, cam_id: str, at: datetime) -> list[date]:
        checked_id(person_id, "person")
        if not isinstance(cam_id, str):
            raise BadValueError(f"a camera is given by its id, which is text, not {type(cam_id).__name__}")
        rule = self._friends
        async with self._operation("friend_days"):
            return await days_seen(
                self._face_documents, owner, person_id, cam_id, rule.interval(at), rule.zone
            )


def _check_fields(person: Mapping[str, Any]) -> None:
    for key, (allowed, expected) in FIELDS.items():
        if key in person and not isinstance(person[key], allowed):
            raise BadValueError(f"a person's {key} is {expected}, not {person[key]!r:.80}")


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
