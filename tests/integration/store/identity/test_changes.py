"""Merging, splitting, renaming and undoing, with a real MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.types import Facen
from store import BadValueError, NotFoundError
from store.collections.users import User
from store.context import Context
from store.identity import neighbours as person_neighbours
from store.identity.change_log import CHANGES, Change, ChangeLog
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.identity.evidence import EvidenceRules, PersonEvidence, distinct_pairs
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from store.upkeep.doctor.doctor import Doctor
from tests.facens import like, person_facen
from tests.integration.store.recorders import recording
from tests.sightings import sighting

ANNA, BERT = person_facen(1), person_facen(2)
AGED = like(ANNA, 0.5, seed=9)
"""Anna on another day: a confidence of 0.75, below the threshold of 0.8."""
RULES = EvidenceRules(threshold=0.7, strong=0.7)
"""Visits of Anna's two persons are enough alike for these."""


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({})


@pytest.fixture
def changes(ctx: Context, user: User) -> PersonChanges:
    return PersonChanges(ctx, user, ctx.persons.rules.references)


@pytest.fixture
def evidence(ctx: Context, user: User) -> PersonEvidence:
    return PersonEvidence(ctx, user, RULES, ctx.persons.rules.references)


async def visits(
    ctx: Context, user: User, tmp_path: Path, *facens: Facen, **facts: object
) -> list[StoredSighting]:
    """A visit a day for each facen, the last of them today."""
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    now = datetime.now(UTC)
    async with recording(ctx, user, spool) as running:
        for number, facen in enumerate(facens):
            at = now - timedelta(days=len(facens) - number, seconds=-number)
            visit = f"v{number}-{hash(facen.tobytes())}"
            spool.put(sighting(number, facen=facen, captured_at=at, visit_id=visit, **facts))  # type: ignore[arg-type]
        await asyncio.wait_for(running.recorder.drained(), 20)
        return running.events


async def persons_of(ctx: Context, user: User, seen: list[StoredSighting]) -> list[int | None]:
    found = [await ctx.faces.find_one(user, {"_id": one.face_id}) for one in seen]
    return [face and face["person_id"] for face in found]


async def agreed(ctx: Context) -> None:
    """The doctor finds nothing amiss."""
    found = [one async for one in Doctor(ctx, timedelta(0)).findings(repair=False)]
    assert found == []


async def test_a_merge_joins_faces_references_and_friendship_and_can_be_undone(
    ctx: Context, user: User, changes: PersonChanges, tmp_path: Path
) -> None:
    """Three days of one person and two of the other make a friend; undoing restores both."""
    seen = await visits(ctx, user, tmp_path, ANNA, ANNA, ANNA, AGED, AGED)
    one, other = seen[0].person_id, seen[-1].person_id
    assert one is not None and other is not None and one != other
    await changes.rename(other, "Anna")
    assert not await ctx.persons.is_friend(user, one, "door")
    before = await ctx.persons.find(user, None, sort=[("_id", 1)])
    merged = await changes.merge(one, other)
    assert (merged.kind, merged.state, merged.faces) == ("merge", "done", 2)
    assert set(await persons_of(ctx, user, seen)) == {one}
    assert await ctx.persons.is_friend(user, one, "door")
    (person,) = await ctx.persons.find(user, None)
    assert person["name"] == "Anna"
    again = await visits(ctx, user, tmp_path, like(AGED, 0.9))
    assert again[0].person_id == one
    await agreed(ctx)

    assert (await changes.undo()).state == "undone"
    assert await persons_of(ctx, user, seen) == [one] * 3 + [other] * 2
    assert await persons_of(ctx, user, again) == [one]
    assert await ctx.persons.find(user, None, sort=[("_id", 1)]) == before
    assert not await ctx.persons.is_friend(user, one, "door")
    assert (await visits(ctx, user, tmp_path, like(ANNA, 0.95)))[0].person_id == one
    await agreed(ctx)


async def test_a_split_makes_a_person_of_some_faces_and_can_be_undone(
    ctx: Context, user: User, changes: PersonChanges, evidence: PersonEvidence, tmp_path: Path
) -> None:
    """Two people stored as one person are split by their visits; later visits recognise each of them."""
    seen = await visits(ctx, user, tmp_path, ANNA, like(ANNA, 0.9), BERT, like(ANNA, 0.9, 3), like(BERT, 0.9))
    one, other = seen[0].person_id, seen[2].person_id
    assert one is not None and other is not None
    await changes.merge(one, other)
    (part,) = await evidence.partition(one)
    assert set(part) == {seen[2].face_id, seen[4].face_id}
    split = await changes.split(one, part)
    new = split.other
    assert await persons_of(ctx, user, seen) == [one, one, new, one, new]
    assert (await visits(ctx, user, tmp_path, like(BERT, 0.95)))[0].person_id == new
    await agreed(ctx)
    await changes.undo(split.number)
    assert set(await persons_of(ctx, user, seen)) == {one}
    assert await ctx.persons.count(user, None) == 1
    with pytest.raises(BadValueError, match="undone already"):
        await changes.undo(split.number)


async def test_a_person_of_one_human_being_is_not_split(
    ctx: Context, user: User, evidence: PersonEvidence, tmp_path: Path
) -> None:
    """The automatic split reports that there is only one."""
    seen = await visits(ctx, user, tmp_path, ANNA, like(ANNA, 0.9))
    with pytest.raises(BadValueError, match="one human being"):
        await evidence.partition(seen[0].person_id or 0)


async def test_refuses_invalid_changes(
    ctx: Context, user: User, changes: PersonChanges, tmp_path: Path
) -> None:
    """Unknown persons, a merge with itself, foreign faces, nothing to undo, and the wrong order."""
    with pytest.raises(NotFoundError, match="no change"):
        await changes.undo()
    seen = await visits(ctx, user, tmp_path, ANNA, BERT)
    one, other = (event.person_id or 0 for event in seen)
    with pytest.raises(BadValueError, match="themselves"):
        await changes.merge(one, one)
    with pytest.raises(NotFoundError, match="no person 99"):
        await changes.merge(one, 99)
    with pytest.raises(BadValueError, match="not one of person"):
        await changes.split(one, [seen[1].face_id])
    with pytest.raises(BadValueError, match="none would be left"):
        await changes.split(one, [seen[0].face_id])
    stranger = PersonChanges(ctx, await ctx.users.add({}), ctx.persons.rules.references)
    with pytest.raises(NotFoundError):
        await stranger.merge(one, other)
    first = await changes.rename(one, "Anna")
    await changes.rename(one, "Anne")
    with pytest.raises(BadValueError, match="undo that one first"):
        await changes.undo(first.number)
    await changes.undo()
    await changes.undo()
    assert "name" not in (await ctx.persons.find(user, {"_id": one}))[0]


@pytest.mark.parametrize(("where", "step"), [(PersonChanges, "_apply"), (ChangeLog, "set_state")])
async def test_completes_an_interrupted_merge(
    ctx: Context,
    user: User,
    changes: PersonChanges,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    step: str,
) -> None:
    """Killed before or after the faces were moved, it is completed by the next change or the nightly job."""
    seen = await visits(ctx, user, tmp_path, ANNA, BERT)
    one, other = (event.person_id or 0 for event in seen)

    async def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(RuntimeError):
            await changes.merge(one, other)
    await changes.resume()
    assert set(await persons_of(ctx, user, seen)) == {one}
    assert [change.state for change in await changes.list_changes()] == ["done"]
    await agreed(ctx)


async def test_a_sighting_follows_a_concurrent_merge(
    ctx: Context, user: User, changes: PersonChanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recognised before the merge and stored after it, the face belongs to the merged person."""
    seen = await visits(ctx, user, tmp_path, ANNA, BERT)
    one, other = (event.person_id or 0 for event in seen)
    add = type(ctx.faces).add

    async def slowly(*arguments: object) -> object:
        await changes.merge(one, other)
        return await add(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(type(ctx.faces), "add", slowly)
        late = await visits(ctx, user, tmp_path, like(BERT, 0.95))
    assert await persons_of(ctx, user, late) == [one] == [late[0].person_id]
    await agreed(ctx)


@pytest.mark.parametrize("searched", [person_neighbours.MAX_SEARCHED, 0], ids=["searched", "compared"])
async def test_proposes_and_makes_merges_with_strong_evidence(
    ctx: Context,
    user: User,
    changes: PersonChanges,
    evidence: PersonEvidence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    searched: int,
) -> None:
    """Two persons with similar visits over several days are proposed or merged, others are not."""
    monkeypatch.setattr(person_neighbours, "MAX_SEARCHED", searched)
    seen = await visits(ctx, user, tmp_path, ANNA, BERT, like(ANNA, 0.95), AGED, like(AGED, 0.95, 2))
    one, other = seen[0].person_id or 0, seen[3].person_id or 0
    (found,) = [found async for found in evidence.find_proposals()]
    assert (found.person, found.other, found.visits, found.other_visits) == (one, other, 2, 2)
    assert 0.7 < found.confidence < 0.8
    await evidence.run_nightly("propose")
    assert await evidence.proposals() == [found]
    assert await ctx.persons.count(user, {"_id": other}) == 1
    await changes.rename(one, "Anna")
    await changes.rename(other, "Anne")
    assert await evidence.run_nightly("propose") == []
    await changes.undo()
    beside = {"$set": {"detector_info.beside": [seen[0].visit_id]}}
    await ctx.database["faces"].update_one({"_id": seen[3].face_id}, beside)
    assert await evidence.run_nightly("make") == []
    await ctx.database["faces"].update_one({"_id": seen[3].face_id}, {"$set": {"detector_info.beside": []}})
    (made,) = await evidence.run_nightly("make")
    assert isinstance(made, Change)
    assert set(await persons_of(ctx, user, seen)) == {one, seen[1].person_id}
    assert [change.by for change in await changes.list_changes()][:1] == ["night"]


@pytest.mark.parametrize("searched", [person_neighbours.MAX_SEARCHED, 0], ids=["searched", "compared"])
async def test_the_nightly_merge_skips_malformed_documents(
    ctx: Context,
    user: User,
    evidence: PersonEvidence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    searched: int,
) -> None:
    """Malformed faces and galleries are skipped; the evidence of all others counts."""
    monkeypatch.setattr(person_neighbours, "MAX_SEARCHED", searched)
    seen = await visits(ctx, user, tmp_path, ANNA, BERT, like(ANNA, 0.95), AGED, like(AGED, 0.95, 2))
    (expected,) = [found async for found in evidence.find_proposals()]
    face = await ctx.database["faces"].find_one({"_id": seen[3].face_id}) or {}
    face.pop("sighting_id")
    wrong: list[dict[str, object]] = [
        {"facen": None},
        {"facen": "no base64!"},
        {"facen": "AAAA"},
        {"detector_info": 5},
        {"detector_info": {"visit_id": 5, "beside": 5, "shots": "many"}},
        {"detector_info": {"visit_id": [], "beside": [5, None]}},
        {"score": "good"},
        {"person_id": "somebody"},
        {"person_id": 1.5},
        {"person_id": []},
    ]
    documents = [{**face, **fields, "_id": 1000 + number} for number, fields in enumerate(wrong)]
    await ctx.database["faces"].insert_many(documents)
    galleries = [{"owner": user["_id"], "name": name} for name in (5, [], None)]
    await ctx.database["galleries"].insert_many(galleries)
    (found,) = [found async for found in evidence.find_proposals()]
    assert (found.person, found.other, found.visits) == (expected.person, expected.other, expected.visits)


async def test_distinct_pairs_are_not_merged_at_night(
    ctx: Context, user: User, changes: PersonChanges, evidence: PersonEvidence, tmp_path: Path
) -> None:
    """After an undone merge or a split the pair is neither proposed nor merged again."""
    seen = await visits(ctx, user, tmp_path, ANNA, like(ANNA, 0.95), AGED, like(AGED, 0.95, 2), BERT)
    one, other, third = (seen[number].person_id or 0 for number in (0, 2, 4))
    await evidence.run_nightly("propose")
    assert len(await evidence.proposals()) == 1
    await changes.merge(one, other)
    await changes.undo()
    assert await evidence.proposals() == []
    assert await evidence.run_nightly("make") == []
    await changes.merge(third, other)
    assert await distinct_pairs(ctx, user) == {frozenset((one, third))}
    await changes.undo()
    await changes.merge(one, other)
    split = await changes.split(one, [seen[2].face_id, seen[3].face_id])
    assert await evidence.run_nightly("make") == []
    await changes.undo(split.number)
    assert frozenset((one, split.other)) not in await distinct_pairs(ctx, user)


async def test_erasing_a_person_removes_their_changes(
    ctx: Context, user: User, changes: PersonChanges, tmp_path: Path
) -> None:
    """The records may hold their name, and the persons merged into them."""
    seen = await visits(ctx, user, tmp_path, ANNA, BERT)
    one, other = (event.person_id or 0 for event in seen)
    await changes.rename(other, "Bert")
    await changes.merge(one, other)
    await Erasure(ctx, user).erase(one)
    assert await ctx.database[CHANGES].count_documents({"kind": "merge"}) == 0
