"""The persons: who a face belongs to, and who is a friend."""

import copy
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from bson import ObjectId

from store.collections.faces import Faces
from store.collections.friends import FriendRule, days_seen
from store.collections.galleries import Galleries, checked_names
from store.collections.person_ids import PersonIds
from store.collections.users import UserArgument, Users, UserStore
from store.errors import BadValueError, ConflictError, StoreStateError
from store.face import facen_of
from store.facens.storage import FacenStorage
from store.mongo.client import Database
from store.mongo.counters import Counters
from store.mongo.guard import Filters, Sort, checked_filters, checked_id, checked_threshold, owned
from store.mongo.lease import Leases
from store.mongo.malformed import malformed_document
from store.mongo.model_store import SCHEMA, Model, checked_mapping
from store.observer import PersonOutcome, StoreObserver
from store.recognition.question import Question
from store.recognition.recognition import Recognition, Verdict
from store.recognition.rules import RecognitionRules
from store.recognition.visit_evidence import VisitEvidence
from store.settings import PersonsSettings, is_person_gallery, reference_gallery

FIELDS: Mapping[str, tuple[type, str]] = {"created": (datetime, "a time"), "sighting_id": (str, "text")}
"""What these fields of a person hold."""


class Person(Model):
    """A person: `_id` (the person_id, uint64), `owner`, `created` (a time), and what else is known."""


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """Whose face it is."""

    person_id: int | None
    """None where nobody is similar and nobody was created."""
    outcome: PersonOutcome
    """`created` by this question, or by an earlier one about the same sighting; `withheld` where nobody is
    similar and nobody was created; `ambiguous` where a camera's face is neither surely a known person's nor
    surely a new one's."""
    confidence: float | None
    """How alike the nearest known person is, 0 to 1, enough or not; None where nobody is known."""

    @property
    def created(self) -> bool:
        return self.outcome == "created"


class Persons(UserStore[Person]):
    """The persons. Their ids are small numbers, counted up."""

    name = "persons"
    Model: TypeAlias = Person
    _model = Person
    protected = frozenset({"sighting_id", "founding"})
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
        self._ids = PersonIds(database, counters)
        self.rules = RecognitionRules.from_settings(settings)
        self._recognition = Recognition(self._face_documents, self._collection, facens, self.rules)
        self._friends = FriendRule(settings.friend_count, settings.friend_interval_days, settings.zone)
        self._settings = settings
        self._leases = Leases(database)
        self._now = now

    def gallery_of(self, cam_id: str) -> str:
        """The gallery in which a camera's visitors are looked for."""
        return self._settings.person_gallery(cam_id)

    async def add(self, user: UserArgument | None, person: Mapping[str, Any]) -> Person:
        """Creates a person. Without an `_id` it gets the next free one.

        Raises:
            BadValueError: the data is no mapping, the id no uint64 below 2^63, or a field is not what it is.
            ConflictError: the id, or the `sighting_id`, is taken.
        """
        owner = await self._users.owner(user)
        model = Person(checked_mapping(person, "person"))
        if "founding" in model:
            raise BadValueError("a person's founding is written by identify alone; leave it out")
        _check_fields(model)
        return await self._make(owner, model)

    async def _make(self, owner: ObjectId, model: Person) -> Person:
        own_id = "_id" in model
        if own_id:
            checked_id(model["_id"], "person")
        model.update(owner=owner, schema=SCHEMA)
        model.setdefault("created", _to_milliseconds(self._now()))
        while True:
            if not own_id:
                model["_id"] = await self._ids.next()
            try:
                await self._insert(model)
            except ConflictError as error:
                if own_id or error.fields != ("_id",):
                    raise
                await self._ids.skip(model["_id"])
            else:
                return model

    async def _completing(self, given: dict[str, Any]) -> dict[str, Any]:
        _check_fields(given)
        if "_id" in given:
            checked_id(given["_id"], "person")
        new = {"_id": given["_id"] if "_id" in given else await self._ids.next()}
        new["created"] = given.get("created", _to_milliseconds(self._now()))
        return {**await super()._completing(given), **new}

    def _changes(self, update: object) -> dict[str, Any]:
        changes = super()._changes(update)
        _check_fields(changes.get("$set", {}))
        return changes

    async def _make_for(self, owner: ObjectId, model: Person) -> Person:
        """As `_make`; a malformed person of the same sighting, which no reader sees, is named."""
        try:
            return await self._make(owner, model)
        except ConflictError as error:
            same = {"owner": owner, "sighting_id": model.get("sighting_id")}
            if stored := await malformed_document(self._database, self.name, same):
                raise StoreStateError(
                    f"{stored}; mend or remove it in MongoDB, see `facend doctor`"
                ) from error
            raise

    async def identify(
        self,
        user: UserArgument | None,
        face: Mapping[str, Any],
        gallery: str | Sequence[str],
        threshold: float,
        create: bool = False,
        filters: Filters | None = None,
    ) -> int | list[int] | None:
        """Whose face it is: the person_id of the most alike face that has one.

        In one gallery given by its name: a person_id, or None where nobody is similar enough and
        nobody was created. In a list of galleries: the person_ids found in them, each once, the
        most alike first; with `create` and nobody found, the new one alone.

        With `create` a face from a picture makes a person wherever nobody is similar enough. A face of a
        camera, which carries its visit in `detector_info`, makes one only where the camera's own sighting
        would: see `resolve`. Calls at once for the same new face make one person. Errors as `resolve`.
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
        """As `identify`, and how sure it is.

        A face with a `sighting_id` whose person was created for it already gets that person again.
        For a face of a camera a person gallery stands for the enrolled people, then the references of the
        gallery's persons; who was co-visible is passed over, the person of the same visit is preferred, and
        the rules for new persons hold (`person_rules.RecognitionRules`).

        Raises:
            NotFoundError: there is no such gallery.
            BadValueError: the face has no facen, or the threshold is none.
            FacenStorageError: a shard is out of service.
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
        """The matches, best first; at least one, which may be of nobody."""
        if not isinstance(create, bool):
            raise BadValueError(f"create is True or False, not {type(create).__name__}")
        question = await self._question(user, face, galleries, threshold, filters)
        sighting = face.get("sighting_id") if create else None
        if not isinstance(sighting, str | None):
            raise BadValueError(f"a face's sighting_id is text, not {type(sighting).__name__}")
        if sighting is not None:
            made = await self._find_one({"owner": question.owner, "sighting_id": sighting})
            if made is not None:
                return [PersonMatch(made["_id"], "created", confidence=None)]
        verdict = await self._verdict("identify", question, create=create)
        if verdict.outcome == "created":
            return await self._find_or_create(question, sighting)
        return _matches(verdict)

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

    async def _find_or_create(self, question: Question, sighting: str | None) -> list[PersonMatch]:
        """Under locks, first here and then among all processes: looks again, and creates."""
        async with AsyncExitStack() as stack:
            await self._lock(stack, question.owner, question.galleries)
            verdict = await self._verdict("identify_again", question, create=True, provisional=True)
            if verdict.outcome == "created":
                await self._lease(stack, question.owner, question.galleries)
                verdict = await self._verdict("identify_again", question, create=True, provisional=True)
            if verdict.outcome != "created":
                return _matches(verdict)
            person = Person(founding=question.provisional_mark()) | (
                {"sighting_id": sighting} if sighting else {}
            )
            made = await self._make_for(question.owner, person)
            return [PersonMatch(made["_id"], "created", verdict.confidence)]

    @asynccontextmanager
    async def exclusive(self, owner: ObjectId, galleries: Sequence[str]) -> AsyncIterator[None]:
        """Alone, here and among all processes, with making and joining persons of these person galleries.

        The facen storage has the faces that others have added. Not for longer than a few seconds.
        """
        async with AsyncExitStack() as stack:
            await self._lock(stack, owner, galleries)
            await self._lease(stack, owner, galleries)
            yield

    async def _lock(self, stack: AsyncExitStack, owner: ObjectId, galleries: Iterable[str]) -> None:
        for gallery in sorted(galleries):
            await stack.enter_async_context(self._leases.local(f"{owner}/{gallery}"))

    async def _lease(self, stack: AsyncExitStack, owner: ObjectId, galleries: Iterable[str]) -> None:
        for gallery in sorted(galleries):
            await stack.enter_async_context(self._leases.held(f"{owner}/{gallery}"))
        for gallery in galleries:
            await self._faces.catch_up(owner, gallery)
            if is_person_gallery(gallery):
                await self._faces.catch_up(owner, reference_gallery(gallery))

    async def _verdict(
        self, operation: str, question: Question, *, create: bool, provisional: bool = False
    ) -> Verdict:
        async with self._query(operation, question.query) as max_time_ms:
            limited = replace(question, max_time_ms=max_time_ms)
            return await self._recognition.verdict(limited, create=create, provisional=provisional)

    async def remove_one(  # type: ignore[override]  # the seeds put the user first
        self, user: UserArgument | None, filters: Filters | None, sort: Sort | None = None
    ) -> Person | None:
        """Removes the first person that passes the filters; their faces stay, and are nobody's then."""
        owner = await self._users.owner(user)
        removed = await self._remove_one(owned(filters, owner), sort)
        if removed is not None:
            async with self._operation("forget"):
                await self._face_documents.update_many(
                    {"owner": owner, "person_id": removed["_id"]}, {"$unset": {"person_id": ""}}
                )
        return removed

    async def is_friend(self, user: UserArgument | None, person_id: int | None, cam_id: str) -> bool:
        """Whether the camera has seen the person on enough different calendar days of late.

        Days are those of the site's time zone, today is one of them, and None is nobody's friend.
        """
        owner = await self._users.owner(user)
        if person_id is None:
            return False
        return self._friends.is_friend(await self._days(owner, person_id, cam_id, self._now()))

    def as_of(self, moment: datetime) -> "Persons":
        """The same persons, judged as of this time.

        A sighting that waited for the store, over midnight or for days, is judged by the days that counted
        when it was seen.
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


def _matches(verdict: Verdict) -> list[PersonMatch]:
    if not verdict.persons:
        return [PersonMatch(None, verdict.outcome, verdict.confidence)]
    return [PersonMatch(one.person_id, verdict.outcome, one.confidence) for one in verdict.persons]


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
