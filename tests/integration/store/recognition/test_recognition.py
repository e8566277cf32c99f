"""Recognition of cameras' faces, with a real MongoDB: threshold 0.8, band 0.03."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.faces.facen import decode, normalise
from pipeline.models.thresholds import MatchRate, Thresholds
from pipeline.types import Facen, Sighting
from store.collections.galleries import DEFAULT_GALLERY
from store.collections.persons import Persons
from store.collections.users import User
from store.context import Context
from store.face import Face
from store.identity.unassigned import Reassessed, UnassignedFaces
from store.observer import UnobservedStore
from store.recognition.thresholds import AutoThreshold
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.facens import face, like, person_facen, stored
from tests.integration.store.recorders import Running, recording
from tests.sightings import RECORDING, START, sighting

ANNA, BERT = person_facen(1), person_facen(2)
POOR = -3.5
Record = Callable[..., Awaitable[StoredSighting]]


def at(facen: Facen, confidence: float, seed: int = 0) -> Facen:
    """A facen of exactly this confidence to the given one."""
    return like(facen, 2 * confidence - 1, seed)


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({})


@pytest.fixture
async def running(ctx: Context, user: User, tmp_path: Path):
    async with recording(ctx, user, Spool(tmp_path / "spool", 100_000_000, UnobservedStore())) as one:
        yield one


@pytest.fixture
def record(running: Running) -> Record:
    """Records a sighting of a facen, and gives what was told of it."""

    async def done(facen: Facen, quality: dict[str, float] | None = None, **facts: object) -> StoredSighting:
        number = len(running.events)
        facts.setdefault("visit_id", f"visit-{number}")
        made: Sighting = sighting(number, facen=facen, captured_at=START, **facts)  # type: ignore[arg-type]
        told = {**made.detector_info, "quality": quality} if quality else made.detector_info
        running.recorder._spool.put(replace(made, media_time=number, detector_info=told))
        await asyncio.wait_for(running.recorder.drained(), 20)
        return running.events[-1]

    return done


async def only_face(ctx: Context, user: User, stored: StoredSighting) -> Face:
    found = await ctx.faces.find_one(user, {"_id": stored.face_id})
    assert found is not None
    return found


async def look_again(ctx: Context, user: User) -> Reassessed:
    return await UnassignedFaces(ctx, user, RECORDING.threshold).reassess(START)


@pytest.mark.parametrize("facts", [{"score": POOR}, {"shots": 1}])
async def test_poor_faces_create_nobody(
    ctx: Context, user: User, running: Running, record: Record, facts: dict[str, object]
) -> None:
    """A single shot, or poor ones, of a stranger are stored in `default` only, without a person."""
    seen = await record(ANNA, **facts)
    assert (seen.person_id, seen.created, seen.outcome, seen.friend) == (None, False, "withheld", False)
    assert [event.outcome for event in running.events] == ["withheld"]
    assert (await only_face(ctx, user, seen)).galleries == [DEFAULT_GALLERY]
    assert await ctx.persons.count(user, None) == 0


async def test_a_better_face_of_the_visit_assigns_the_withheld_one(
    ctx: Context, user: User, record: Record
) -> None:
    """The withheld face gets the person created by the better one, and its gallery."""
    poor = await record(at(ANNA, 0.85), score=POOR, visit_id="one")
    better = await record(ANNA, visit_id="one")
    assert better.outcome == "created"
    face = await only_face(ctx, user, poor)
    assert (face["person_id"], face["person_outcome"]) == (better.person_id, "matched")
    assert "persons" in face.galleries
    assert face["_id"] in await ctx.facens.ids(user["_id"], "persons")


async def test_poor_faces_are_assigned_to_their_visits_person(record: Record) -> None:
    """Except faces that are more similar to another person."""
    first = await record(ANNA, visit_id="one")
    assert (await record(at(ANNA, 0.7), score=POOR, visit_id="one")).person_id == first.person_id
    assert (await record(BERT, score=POOR, visit_id="one")).person_id is None


async def test_the_job_assigns_faces_withheld_earlier(ctx: Context, user: User, record: Record) -> None:
    """To a person who became known later."""
    poor = await record(at(ANNA, 0.9), score=POOR)
    assert await look_again(ctx, user) == Reassessed(examined=1, assigned=0)
    known = await record(ANNA)
    assert known.outcome == "created"
    assert await look_again(ctx, user) == Reassessed(examined=1, assigned=1)
    assert (await only_face(ctx, user, poor))["person_id"] == known.person_id
    assert await look_again(ctx, user) == Reassessed(examined=0, assigned=0)


async def test_poor_faces_in_the_band_are_ambiguous(running: Running, record: Record) -> None:
    """A good one is a new person; above the threshold a poor one matches."""
    anna = await record(ANNA)
    assert (await record(at(ANNA, 0.77), score=POOR)).outcome == "ambiguous"
    known = await record(at(ANNA, 0.81), score=POOR)
    assert (known.outcome, known.person_id) == ("matched", anna.person_id)
    new = await record(at(ANNA, 0.77, seed=5))
    assert (new.outcome, new.confidence) == ("created", pytest.approx(0.77, abs=1e-4))
    assert [event.outcome for event in running.events] == [
        "created",
        "ambiguous",
        "matched",
        "created",
    ]


async def test_barely_visible_faces_do_not_match_each_other(record: Record) -> None:
    """A confidence of 0.85 between two barely visible faces is no match, even if a clear face is nearer to
    its own threshold, and even if the first one has just become a person."""
    hidden = {"quality": {"size": -1.5, "sharpness": -0.8}, "score": -2.9}
    second = at(ANNA, 0.85)
    plain = await record(at(second, 0.7, seed=4))
    first = await record(ANNA, **hidden)
    assert (plain.outcome, first.outcome) == ("created", "created")
    seen = await record(second, **hidden)
    assert (seen.outcome, seen.person_id) == ("ambiguous", None)


async def test_co_visible_faces_are_different_persons(ctx: Context, user: User, record: Record) -> None:
    """A face similar to a co-visible person is ambiguous (a mirror, a twin); a less similar one is a new
    person; at another camera or time they match."""
    anna = await record(ANNA, visit_id="left")
    twin = await record(at(ANNA, 0.95), visit_id="right", beside=("left",))
    assert (twin.outcome, twin.person_id) == ("ambiguous", None)
    other = await record(at(ANNA, 0.78, seed=7), visit_id="right2", beside=("left", "elsewhere"))
    assert other.outcome == "created"
    assert (await record(at(ANNA, 0.95), visit_id="right3")).person_id == anna.person_id
    assert await look_again(ctx, user) == Reassessed(examined=1, assigned=0)


async def test_matches_the_next_person_after_a_co_visible_one(record: Record) -> None:
    """The nearest person is co-visible; the next one is similar enough."""
    other = at(ANNA, 0.75, seed=3)
    anna = await record(ANNA, visit_id="left")
    near = await record(other, visit_id="earlier")
    assert near.person_id != anna.person_id
    between = normalise(1.1 * ANNA + other)
    seen = await record(between, visit_id="right", beside=("left",))
    assert seen.person_id == near.person_id


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


async def test_a_face_without_a_person_says_why(ctx: Context, user: User, record: Record) -> None:
    """Whom it resembles and what it lacks; a visit that got its person later has nothing to explain."""
    known = await record(ANNA, visit_id="known")
    assert known.reason == ""
    poor = await record(at(ANNA, 0.78), score=POOR, visit_id="poor")
    assert poor.reason == f"like person {known.person_id} (0.78 of 0.80), quality -3.5"
    shy = await record(BERT, shots=1, visit_id="bert")
    assert shy.reason == "1 good shot"
    mirror = await record(at(ANNA, 0.9), visit_id="mirror", beside=("known",))
    assert mirror.reason == f"like person {known.person_id}, in the same frame"
    obscure = {"size": -1.0, "sharpness": -0.5, "exposure": -0.2}
    first = await record(at(BERT, 0.9, 5), quality=obscure)
    assert first.outcome == "created"
    dim = await record(at(BERT, 0.9, 5), quality=obscure, visit_id="dim")
    assert dim.outcome == "matched"
    await record(BERT, visit_id="bert")
    assert "person_reason" not in await only_face(ctx, user, shy)


@pytest.mark.parametrize("later", [0.9, 0.7], ids=["the known person", "a new one"])
async def test_a_later_good_look_of_the_visit_decides(
    ctx: Context, user: User, record: Record, later: float
) -> None:
    """An ambiguous look is not the last word on its visit: the good one says who both are."""
    known = await record(ANNA)
    doubtful = await record(at(ANNA, 0.78), score=POOR, visit_id="two")
    assert (doubtful.outcome, doubtful.person_id) == ("ambiguous", None)
    good = await record(between(ANNA, at(ANNA, 0.78), later), visit_id="two")
    assert (good.person_id == known.person_id) == (later > 0.8)
    face_ = await only_face(ctx, user, doubtful)
    assert (face_["person_id"], face_["person_outcome"]) == (good.person_id, "matched")
    assert "person_reason" not in face_


def between(one: Facen, other: Facen, confidence: float) -> Facen:
    """A facen with this confidence to each of two others."""
    both, apart = normalise(one + other), normalise(one - other)
    aside = like(both, 0.0, seed=3)
    aside = normalise(aside - float(aside @ apart) * apart)
    cosine = (2 * confidence - 1) / float(both @ one)
    return normalise((cosine * both + np.sqrt(1 - cosine**2) * aside).astype(np.float32))


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


MEASURED = Thresholds(
    0.95,
    0.9,
    0.7,
    match_rates=(MatchRate(0.7, 100, 10_000, (0, 1), 0.9), MatchRate(0.8, 1, 10_000, (0, 1), 0.8)),
)


async def test_the_threshold_rises_with_the_number_of_persons(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """The same confidence is a match among few persons, and a new person among many; those of other users do
    not count."""
    settings = replace(RECORDING, threshold=AutoThreshold(MEASURED, fpir=0.2))
    other = await ctx.users.add({})
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    async with recording(ctx, user, spool, settings) as one:

        async def seen(number: int, facen: Facen) -> StoredSighting:
            one.recorder._spool.put(sighting(number, facen=facen, visit_id=f"visit-{number}"))
            await asyncio.wait_for(one.recorder.drained(), 20)
            return one.events[-1]

        first = await seen(0, ANNA)
        for _ in range(100):
            await ctx.persons.add(other, {})
        assert (await seen(1, at(ANNA, 0.72))).person_id == first.person_id
        assert await ctx.persons.threshold_for(user, "persons", settings.threshold) < 0.72
        for _ in range(100):
            await ctx.persons.add(user, {})
        assert await ctx.persons.threshold_for(user, "persons", settings.threshold) > 0.73
        assert (await seen(2, at(ANNA, 0.72, seed=1))).outcome == "created"


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
