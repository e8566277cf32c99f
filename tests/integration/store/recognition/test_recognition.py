"""Recognition of cameras' faces, with a real MongoDB: threshold 0.8, band 0.03."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.faces.facen import normalise
from pipeline.models.thresholds import MatchRate, Thresholds
from pipeline.types import Facen
from store.collections.galleries import DEFAULT_GALLERY
from store.collections.users import User
from store.context import Context
from store.identity.unassigned import Reassessed
from store.observer import UnobservedStore
from store.recognition.thresholds import AutoThreshold
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.integration.store.recognition.recorded_faces import (
    ANNA,
    BERT,
    POOR,
    Record,
    at,
    between,
    look_again,
    only_face,
)
from tests.integration.store.recorders import Running, recording
from tests.sightings import RECORDING, sighting


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
