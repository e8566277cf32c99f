"""Nameless persons of cameras and the people who are enrolled later, with a real MongoDB."""

from pathlib import Path

import pytest

from pipeline.types import Facen
from store import Context, User
from store.identity.changes import PersonChanges
from store.identity.look_back import LookBack, LookBackRules
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.facens import like, person_facen, stored
from tests.integration.store.recorders import recording
from tests.sightings import sighting

ANNA, BERT = person_facen(1), person_facen(2)
RULES = LookBackRules(threshold=0.75, certain=0.9)


async def visits(ctx: Context, user: User, tmp_path: Path, *facens: Facen) -> list[StoredSighting]:
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    async with recording(ctx, user, spool) as running:
        for number, facen in enumerate(facens):
            spool.put(sighting(number, facen=facen, visit_id=f"visit-{number}"))
        await running.recorder.drained()
        return running.events


async def enrolled(ctx: Context, user: User, facen: Facen, name: str | None = "Anna") -> int:
    person = await ctx.persons.add(user, {"name": name} if name else {})
    await stored(ctx, user, facen, ["default", "enrolled"], person_id=person["_id"])
    return int(person["_id"])


async def joined(ctx: Context, user: User, *persons: int) -> list[tuple[int, int | None, str]]:
    return [(one.person, one.other, one.by) for one in await LookBack(ctx, user, RULES).run(persons)]


async def test_earlier_visits_become_those_of_the_enrolled_person(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """The nameless person whom a camera made is merged into the enrolled one; undoing brings it back."""
    anna, bert = await visits(ctx, user, tmp_path, ANNA, BERT)
    person = await enrolled(ctx, user, like(ANNA, 0.9))
    assert await joined(ctx, user, person) == [(person, anna.person_id, "enrolment")]
    assert await ctx.faces.count(user, {"person_id": person}) == 2
    assert await ctx.persons.count(user, {"_id": bert.person_id}) == 1
    await PersonChanges(ctx, user, ctx.persons.rules.references).undo()
    assert await ctx.faces.count(user, {"person_id": anna.person_id}) == 1
    assert await joined(ctx, user, person) == []  # an operator said that they are two


@pytest.mark.parametrize(("second", "made"), [(0.6, 1), (0.0, 0)], ids=["two references", "one"])
async def test_a_likeness_that_is_not_certain_needs_two_references(
    ctx: Context, user: User, tmp_path: Path, second: float, made: int
) -> None:
    """One reference may resemble the picture by chance; two of different visits do not."""
    look = like(ANNA, 0.75)
    (anna,) = await visits(ctx, user, tmp_path, ANNA)
    info = {"visit_id": "another"}
    other = like(look, second, seed=4)
    await stored(ctx, user, other, ["references"], person_id=anna.person_id, detector_info=info)
    assert len(await joined(ctx, user, await enrolled(ctx, user, look))) == made


async def test_people_with_names_and_enrolled_ones_stay_apart(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """What an operator has named, or enrolled, is no nameless person."""
    (anna,) = await visits(ctx, user, tmp_path, ANNA)
    await ctx.persons.update_one(user, {"_id": anna.person_id}, {"$set": {"name": "Anne"}})
    person = await enrolled(ctx, user, like(ANNA, 0.95))
    assert await joined(ctx, user, person) == []
    await ctx.persons.update_one(user, {"_id": anna.person_id}, {"$unset": {"name": ""}})
    await stored(ctx, user, like(ANNA, 0.95, 5), ["enrolled"], person_id=anna.person_id)
    assert await joined(ctx, user, person) == []


async def test_a_person_who_resembles_another_enrolled_one_more_is_not_joined(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """Between relatives the more similar one counts; enrolling the other changes nothing."""
    (anna,) = await visits(ctx, user, tmp_path, ANNA)
    sister = await enrolled(ctx, user, like(ANNA, 0.82, 2), "Sister")
    person = await enrolled(ctx, user, like(ANNA, 0.97, 3))
    assert await joined(ctx, user, sister) == []
    assert await joined(ctx, user, sister, person) == [(person, anna.person_id, "enrolment")]
