"""Recognition by plugins and by the recorder: both create the same persons."""

import asyncio
from typing import Any

import pytest

from store.collections.persons import Persons
from store.collections.users import User
from store.context import Context
from tests.facens import face
from tests.integration.store.recognition.recorded_faces import (
    ANNA,
    BERT,
    POOR,
    Record,
    at,
    only_face,
)
from tests.integration.store.recorders import Running


async def test_a_person_created_by_a_plugin_is_recognised(ctx: Context, user: User, record: Record) -> None:
    """Without references, all their faces in the person gallery are searched."""
    await ctx.galleries.ensure(user, "persons")
    person = await ctx.persons.identify(user, face(ANNA), "persons", 0.8, create=True)
    stored = await ctx.faces.add(user, face(ANNA, person_id=person))
    await ctx.faces.add_to_galleries(stored, ["default", "persons"])
    seen = await record(at(ANNA, 0.9))
    assert (seen.outcome, seen.person_id) == ("matched", person)


POLICY = [
    ("withheld", {"score": POOR}),
    ("withheld", {"shots": 1}),
    ("ambiguous", {"visit_id": "right", "beside": ("left",)}),
    ("ambiguous", {"score": POOR, "facen": at(ANNA, 0.77)}),
]


@pytest.mark.parametrize(("outcome", "facts"), POLICY, ids=range(len(POLICY)))
async def test_identify_creates_nobody_for_withheld_faces(
    ctx: Context, user: User, record: Record, outcome: str, facts: dict[str, object]
) -> None:
    """`identify(create=True)` has the camera's result, for a Face, a dictionary, several galleries, and
    filters."""
    if outcome == "ambiguous":
        await record(ANNA, visit_id="left")
    seen = await record(facts.pop("facen", at(ANNA, 0.95)), **facts)
    assert seen.outcome == outcome
    known = await ctx.persons.count(user, None)
    stored = await only_face(ctx, user, seen)
    for asked in (stored, dict(stored)):
        assert await ctx.persons.identify(user, asked, "persons", 0.8, create=True) is None
        assert await ctx.persons.identify(user, asked, ["persons"], 0.8, create=True) == []
        match = await ctx.persons.resolve(user, asked, "persons", 0.8, create=True)
        assert (match.person_id, match.outcome) == (None, outcome)
    nobody = {"meta": "nobody has this"}
    if outcome == "withheld":
        assert await ctx.persons.identify(user, stored, "persons", 0.8, create=True, filters=nobody) is None
    assert await ctx.persons.count(user, None) == known


async def test_identify_agrees_with_the_recorder(ctx: Context, user: User, record: Record) -> None:
    """For each stored face of a camera, `identify` returns the recorder's person."""
    for number in range(4):
        await record(ANNA if number == 0 else at(ANNA, 0.9, seed=number))
        await record(BERT if number == 0 else at(BERT, 0.9, seed=number))
    await record(at(ANNA, 0.82, seed=9), score=POOR)
    for face_ in await ctx.faces.find(user, None):
        assert await ctx.persons.identify(user, face_, "persons", 0.8) == face_["person_id"]


async def test_an_extraction_face_creates_a_person(ctx: Context, user: User, record: Record) -> None:
    """It has no visit: without a similar person it creates exactly one."""
    seen = await record(ANNA, shots=1)
    assert seen.outcome == "withheld"
    plain = {"facen": (await only_face(ctx, user, seen))["facen"]}
    made = await ctx.persons.identify(user, plain, "persons", 0.8, create=True)
    assert isinstance(made, int)
    assert await ctx.persons.identify(user, plain, "persons", 0.8, create=True) == made


async def test_a_plugin_and_the_recorder_create_one_person(
    ctx: Context, user: User, running: Running, record: Record
) -> None:
    """The same new face, as a sighting and from a picture, at the same moment: one person."""
    await ctx.galleries.ensure(user, "persons")
    seen, asked = await asyncio.gather(
        record(ANNA),
        asyncio.gather(
            *(
                ctx.persons.identify(user, face(at(ANNA, 0.95, seed=seed)), "persons", 0.8, create=True)
                for seed in range(10)
            )
        ),
    )
    assert {seen.person_id, *asked} == {seen.person_id}
    assert await ctx.persons.count(user, None) == 1


async def test_the_recorder_uses_persons_resolve(
    ctx: Context, user: User, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sighting goes through the method behind `Persons.identify`, and through `is_friend`."""
    asked: list[str] = []
    for name in ("resolve", "is_friend"):
        real = getattr(Persons, name)

        async def noted(self: Persons, *args: Any, _real: Any = real, _name: str = name, **more: Any) -> Any:
            asked.append(_name)
            return await _real(self, *args, **more)

        monkeypatch.setattr(Persons, name, noted)
    await record(ANNA)
    assert asked == ["resolve", "is_friend"]
    asked.clear()
    await ctx.persons.identify(user, face(ANNA), "persons", 0.8)
    assert asked == ["resolve"]


@pytest.mark.parametrize(
    "info",
    [
        {"visit_id": "v", "beside": 5, "shots": "many", "quality": {"size": "large", "sharpness": None}},
        {"visit_id": "", "beside": [1, None, {}], "shots": None, "quality": []},
        {"visit_id": 5},
        {"visit_id": "v", "quality": {"size": True}},
    ],
)
async def test_ignores_malformed_evidence(ctx: Context, user: User, info: dict[str, Any]) -> None:
    """Any content of `detector_info` is accepted."""
    await ctx.galleries.ensure(user, "persons")
    asked = {**face(ANNA), "detector_info": info, "score": None, "cam_id": 7}
    assert await ctx.persons.identify(user, asked, "persons", 0.8) is None
