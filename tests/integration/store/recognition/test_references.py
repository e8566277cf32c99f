"""References, and persons that are recognised by two that agree."""

from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from pipeline.faces.facen import decode
from pipeline.types import Facen
from store.collections.users import User
from store.context import Context
from store.spool.stored_sighting import StoredSighting
from tests.facens import stored
from tests.integration.store.recognition.recorded_faces import (
    ANNA,
    POOR,
    Record,
    at,
    between,
)


async def test_a_poor_face_is_no_reference(ctx: Context, user: User, record: Record) -> None:
    """It belongs to the person, but faces similar only to it do not match."""
    await record(ANNA)
    poor = await record(at(ANNA, 0.82), score=POOR)
    assert poor.outcome == "matched"
    drifted = at(at(ANNA, 0.82), 0.9, seed=4)
    assert (1 + float(drifted @ ANNA)) / 2 < 0.8
    assert (await record(drifted, score=POOR)).person_id is None
    assert len(await ctx.facens.ids(user["_id"], "references")) == 1


async def test_references_are_limited_and_distinct(ctx: Context, user: User, record: Record) -> None:
    """After twenty visits there are at most eight distinct references; all faces are in the person
    gallery."""
    person = (await record(ANNA)).person_id
    for number in range(10):
        facen = at(ANNA, 0.92, seed=number)
        for again in (facen, facen):
            assert (await record(again)).person_id == person
    references = await ctx.faces.find(user, {"gallery": "references"})
    assert len(references) == ctx.persons.rules.references.max_count == 8
    facens = np.stack([decode(one["facen"]) for one in references])
    alike = (1 + facens @ facens.T) / 2
    assert alike[~np.eye(8, dtype=bool)].max() < 0.97
    assert await ctx.faces.count(user, {"gallery": "persons"}) == 21


@pytest.fixture
def second_look(ctx: Context, user: User) -> Callable[..., Awaitable[Facen]]:
    """Gives a person a second reference, of another visit by default, which resembles the first little."""

    async def given(first: StoredSighting, visit_id: str = "earlier") -> Facen:
        other = at(ANNA, 0.75, seed=8)
        info = {"visit_id": visit_id, "shots": 4}
        galleries = ["default", "persons", "references"]
        await stored(
            ctx, user, other, galleries, person_id=first.person_id, cam_id="door", detector_info=info
        )
        return other

    return given


async def test_references_that_agree_suffice_below_the_threshold(
    record: Record, second_look: Callable[..., Awaitable[Facen]]
) -> None:
    """A look that is near two references of one person is theirs, though neither alone would do."""
    first = await record(ANNA)
    look = between(ANNA, await second_look(first), 0.78)
    seen = await record(look)
    assert (seen.person_id, seen.outcome) == (first.person_id, "matched")
    assert seen.confidence is not None and seen.confidence > 0.8


async def test_two_references_of_one_visit_are_one_look(
    record: Record, second_look: Callable[..., Awaitable[Facen]]
) -> None:
    """They do not agree, because the second adds no evidence."""
    first = await record(ANNA, visit_id="earlier")
    look = between(ANNA, await second_look(first), 0.78)
    assert (await record(look)).outcome == "created"


async def test_references_do_not_agree_where_another_person_is_as_near(
    record: Record, second_look: Callable[..., Awaitable[Facen]]
) -> None:
    """Between two persons agreement decides nothing."""
    first = await record(ANNA)
    look = between(ANNA, await second_look(first), 0.78)
    other = await record(at(look, 0.79, seed=21))
    assert other.outcome == "created"
    seen = await record(look)
    assert (seen.outcome, seen.person_id in (first.person_id, other.person_id)) == ("created", False)


async def test_looks_far_from_both_references_do_not_agree(
    record: Record, second_look: Callable[..., Awaitable[Facen]]
) -> None:
    """Below what two references together can show it is a new person."""
    first = await record(ANNA)
    assert (await record(between(ANNA, await second_look(first), 0.72))).outcome == "created"
