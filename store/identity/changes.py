"""Merges, splits and renames persons. Each change is recorded and can be undone.

A change is recorded before it is applied in idempotent steps: after a crash, the next change or the nightly
job completes it. A moved face lists the numbers of the changes that moved it, so that they can be undone.
References are chosen again after each change; galleries and friendship depend on the face's `person_id` only.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from bson import ObjectId

from store.collections.persons import Person
from store.collections.users import UserArgument
from store.collections.watch_lists import lists_of
from store.context import Context
from store.errors import BadValueError, ConflictError, NotFoundError
from store.face import Face
from store.identity.change_log import Change, ChangeKind, ChangeLog, to_change
from store.identity.references import References
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import checked_id, checked_label
from store.outbox.events import NewEvent, Outbox
from store.recognition.rules import ReferenceRules
from store.visits.visit_documents import VisitDocuments

log = structlog.get_logger()

MAX_SPLIT = 10_000
"""Maximum number of faces in one split."""

EVENT_OF: dict[str, str] = {"merge": "person.merged", "split": "person.split", "rename": "person.renamed"}
OPPOSITE: dict[str, str] = {"merge": "split", "split": "merge"}


class PersonChanges:
    """Changes the persons of one user."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        rules: ReferenceRules,
        by: str = "command",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ctx = ctx
        self._user = user
        self._references = References(ctx, user, rules)
        self._log = ChangeLog(ctx, by, now)
        self._visits = VisitDocuments(ctx.database)
        self._persons: Collection = ctx.database["persons"]
        self._faces: Collection = ctx.database["faces"]

    async def merge(self, person_id: int, other: int) -> Change:
        """Move the faces of `other` to the person and remove `other`.

        Raises:
            NotFoundError: one of them does not exist.
            BadValueError: they are the same.
        """
        owner = await self._ctx.users.owner(self._user)
        if person_id == other:
            raise BadValueError(f"the person {person_id} cannot be merged with themselves")
        kept, merged = await self._person(owner, person_id), await self._person(owner, other)
        await self.resume()
        return await self._begin(
            owner, "merge", person_id, other, document=dict(merged), before=kept.get("name")
        )

    async def split(self, person_id: int, faces: Sequence[int]) -> Change:
        """Move these faces of the person to a new person.

        Raises:
            NotFoundError: there is no such person.
            BadValueError: a face is not theirs, or no face would be left.
        """
        owner = await self._ctx.users.owner(self._user)
        await self._person(owner, person_id)
        ids = sorted({checked_id(face, "face") for face in faces})
        if not ids or len(ids) > MAX_SPLIT:
            raise BadValueError(f"name the faces to split off, up to {MAX_SPLIT}")
        found = await self._ctx.faces.find(owner, {"person_id": person_id, "_id": {"$in": ids}})
        if len(found) != len(ids):
            foreign = sorted(set(ids) - {face["_id"] for face in found})
            raise BadValueError(f"the face {foreign[0]} is not one of person {person_id}")
        if await self._ctx.faces.count(owner, {"person_id": person_id}) == len(ids):
            raise BadValueError(f"these are all faces of person {person_id}; none would be left")
        await self.resume()
        new = await self._ctx.persons.add(owner, {})
        return await self._begin(owner, "split", person_id, new["_id"], faces=ids)

    async def rename(self, person_id: int, name: str) -> Change:
        """Set the person's name; an empty name removes it. NotFoundError if there is no such person."""
        owner = await self._ctx.users.owner(self._user)
        person = await self._person(owner, person_id)
        if name != "":
            checked_label(name, "a person's name")
        await self.resume()
        return await self._begin(owner, "rename", person_id, None, before=person.get("name"), name=name)

    async def undo(self, number: int | None = None) -> Change:
        """Undo a change. Default: the latest one that is not undone.

        After a merge, faces stored since then stay with the person. After a split, all faces of the split-off
        person move back.

        Raises:
            NotFoundError: there is no such change.
            BadValueError: it was already undone, or a later change of the same persons must be undone first.
        """
        owner = await self._ctx.users.owner(self._user)
        await self.resume()
        query: dict[str, Any] = {"owner": owner} | (
            {"state": "done"} if number is None else {"_id": checked_id(number, "change")}
        )
        change = await self._log.latest(query)
        if change is None:
            raise NotFoundError(
                "there is no change to undo" if number is None else f"there is no change {number}"
            )
        if change["state"] == "undone":
            raise BadValueError(f"the change {change['_id']} was undone already")
        persons = [person for person in (change["person"], change["other"]) if person is not None]
        later = await self._log.latest(
            {
                "owner": owner,
                "_id": {"$gt": change["_id"]},
                "state": "done",
                "$or": [{"person": {"$in": persons}}, {"other": {"$in": persons}}],
            }
        )
        if later is not None:
            raise BadValueError(f"the change {later['_id']} of the same person is later; undo that one first")
        await self._person(owner, change["person"])
        return await self._advance(owner, change, "undoing", "undone")

    async def list_changes(self) -> list[Change]:
        """All changes, the latest first."""
        return await self._log.all(await self._ctx.users.owner(self._user))

    async def resume(self) -> None:
        """Complete interrupted changes."""
        owner = await self._ctx.users.owner(self._user)
        while (
            change := await self._log.latest({"owner": owner, "state": {"$in": ["begun", "undoing"]}})
        ) is not None:
            end_state = "done" if change["state"] == "begun" else "undone"
            try:
                await self._advance(owner, change, change["state"], end_state)
            except (BadValueError, ConflictError, NotFoundError) as error:
                # Its document is damaged; it must not block every later change.
                log.error("a change of persons cannot be completed", change=change["_id"], reason=str(error))
                await self._log.set_state(change, "failed")

    async def follow_merges(self, face: Face) -> None:
        """Move a newly stored face if its person was merged into another one meanwhile."""
        owner = await self._ctx.users.owner(self._user)
        visited: set[int] = set()
        while face.get("person_id") is not None and face["person_id"] not in visited:
            person = face["person_id"]
            visited.add(person)  # damaged documents may form cycles
            if await self._find_person(owner, person) is not None:
                return
            merged = {"owner": owner, "kind": "merge", "other": person, "state": {"$in": ["begun", "done"]}}
            change = await self._log.latest(merged)
            if change is None:
                return
            await self._move(
                owner, {"_id": face["_id"], "person_id": person}, change["person"], change["_id"]
            )
            await self._visits.refresh_outdated(owner)
            face["person_id"] = change["person"]

    async def _begin(
        self, owner: ObjectId, kind: ChangeKind, person: int, other: int | None, **details: object
    ) -> Change:
        change = await self._log.add(owner, kind, person, other, **details)
        return await self._advance(owner, change, "begun", "done")

    async def _advance(
        self, owner: ObjectId, change: dict[str, Any], running_state: str, end_state: str
    ) -> Change:
        """Apply or revert the change, from the step that it reached."""
        await self._log.set_state(change, running_state)
        galleries = await self._galleries(owner, change)
        async with self._ctx.persons.exclusive(owner, galleries):
            try:
                await (self._apply if end_state == "done" else self._revert)(owner, change)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "person_changes.apply") from error
        await self._visits.refresh_outdated(owner)
        if change["other"] is not None:
            for gallery in galleries:
                for person in (change["person"], change["other"]):
                    await self._references.choose(person, gallery)
        if end_state == "done":
            change["moved"] = await self._ctx.faces.count(owner, {"person_changes": change["_id"]})
        await self._write_event(owner, change, end_state)
        await self._log.set_state(change, end_state, moved=change.get("moved", 0))
        log.info("persons were changed", change=change["_id"], kind=change["kind"], state=end_state)
        return to_change({**change, "state": end_state})

    async def _write_event(self, owner: ObjectId, change: Mapping[str, Any], state: str) -> None:
        """Write the event of a change. Undoing a merge is announced as a split, and the reverse."""
        undone = state == "undone"
        kind = change["kind"]
        if undone and kind in OPPOSITE:
            kind = OPPOSITE[kind]
        facts = {"by": change["by"]} | ({} if change["other"] is None else {"other": change["other"]})
        event = NewEvent(
            EVENT_OF[kind],
            f"{change['_id']} {state}",
            datetime.now(UTC),
            person_id=change["person"],
            facts=facts,
        )
        await Outbox(self._ctx.database, owner, self._ctx.box).add([event])

    async def _apply(self, owner: ObjectId, change: dict[str, Any]) -> None:
        number, person, other = change["_id"], change["person"], change["other"]
        if change["kind"] == "merge":
            await self._persons.delete_one({"_id": other, "owner": owner})
            await self._move(owner, {"person_id": other}, person, number)
            if change.get("before") is None and (name := change["document"].get("name")) is not None:
                await self._set_name(owner, person, name)
            if lists := lists_of(change["document"]):
                joined = {"$addToSet": {"lists": {"$each": list(lists)}}}
                await self._persons.update_one({"_id": person, "owner": owner}, joined)
        elif change["kind"] == "split":
            await self._move(owner, {"_id": {"$in": change["faces"]}, "person_id": person}, other, number)
        else:
            await self._set_name(owner, person, change.get("name") or None)

    async def _revert(self, owner: ObjectId, change: dict[str, Any]) -> None:
        number, person, other = change["_id"], change["person"], change["other"]
        if change["kind"] == "merge":
            document = change["document"]
            await self._persons.replace_one({"_id": other}, document, upsert=True)
            await self._move_back(owner, {"person_changes": number, "person_id": person}, other, number)
            await self._set_name(owner, person, change.get("before"))
        elif change["kind"] == "split":
            await self._persons.delete_one({"_id": other, "owner": owner})
            await self._move_back(owner, {"person_id": other}, person, number)
        else:
            await self._set_name(owner, person, change.get("before"))

    async def _move(self, owner: ObjectId, faces: dict[str, Any], person: int, number: int) -> None:
        update = {"$set": {"person_id": person}, "$addToSet": {"person_changes": number}}
        await self._mark_visits(owner, faces)
        try:
            await self._faces.update_many({**faces, "owner": owner}, update)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.move") from error

    async def _move_back(self, owner: ObjectId, faces: dict[str, Any], person: int, number: int) -> None:
        update = {"$set": {"person_id": person}, "$pull": {"person_changes": number}}
        await self._mark_visits(owner, faces)
        await self._faces.update_many({**faces, "owner": owner}, update)

    async def _mark_visits(self, owner: ObjectId, faces: Mapping[str, Any]) -> None:
        await self._visits.mark(await self._visits.keys_of_faces({**faces, "owner": owner}))

    async def _set_name(self, owner: ObjectId, person: int, name: str | None) -> None:
        update = {"$set": {"name": name}} if name is not None else {"$unset": {"name": ""}}
        await self._persons.update_one({"_id": person, "owner": owner}, update)
        await self._visits.rename(owner, person)

    async def _galleries(self, owner: ObjectId, change: dict[str, Any]) -> list[str]:
        """The person galleries of the cameras that saw these persons."""
        persons = [person for person in (change["person"], change["other"]) if person is not None]
        query = {"owner": owner, "person_id": {"$in": persons}, "cam_id": {"$type": "string"}}
        try:
            cameras = await self._faces.distinct("cam_id", query)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.distinct") from error
        return sorted({self._ctx.persons.gallery_of(cam_id) for cam_id in cameras})

    async def _person(self, owner: ObjectId, person_id: int) -> Person:
        found = await self._find_person(owner, checked_id(person_id, "person"))
        if found is None:
            raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
        return found

    async def _find_person(self, owner: ObjectId, person_id: int) -> Person | None:
        return await self._ctx.persons.find_one(owner, {"_id": person_id})
