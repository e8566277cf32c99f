"""Person galleries after a change of `persons.scope`, with a real MongoDB."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.models.thresholds import MatchRate, Thresholds
from pipeline.types import Facen
from store.collections.person_scope import follow_scope
from store.context import Context
from store.face import Face
from store.observer import UnobservedStore
from store.recognition.thresholds import AutoThreshold
from store.settings import PersonScope
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.facens import like, person_facen, stored
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import sighting

ANNA, BERT = person_facen(1), person_facen(2)


class Site:
    """A database that is opened with one scope after the other."""

    def __init__(self, settings: StoreArguments, spool: Path) -> None:
        self._settings = settings
        self._spool = Spool(spool, 100_000_000, UnobservedStore())
        self._user: dict[str, object] | None = None
        self._number = 0

    async def seen(self, scope: PersonScope, *visits: tuple[str, Facen]) -> list[StoredSighting]:
        """Opens the store with this scope and records a visit of each camera and facen."""
        async with self.open(scope) as ctx:
            self._user = self._user or await ctx.users.add({})
            async with recording(ctx, self._user["_id"], self._spool) as running:  # type: ignore[arg-type]
                for cam_id, facen in visits:
                    self._number += 1
                    self._spool.put(
                        sighting(self._number, facen=facen, cam_id=cam_id, visit_id=f"v{self._number}")
                    )
                    await asyncio.wait_for(running.recorder.drained(), 20)
                return running.events

    def open(self, scope: PersonScope):
        persons = self._settings.persons.model_copy(update={"scope": scope})
        return replace(self._settings, persons=persons).open()

    async def faces(self) -> list[Face]:
        async with self._settings.open() as ctx:
            assert self._user is not None
            return await ctx.faces.find(self._user["_id"], None, sort=[("_id", 1)])


@pytest.fixture
def site(store_settings: StoreArguments, tmp_path: Path) -> Site:
    return Site(store_settings, tmp_path / "spool")


async def test_a_stranger_at_two_cameras_is_one_person(site: Site) -> None:
    """By default all cameras share their persons; with `camera` each has its own."""
    first, second = await site.seen("global", ("door", ANNA), ("yard", like(ANNA, 0.95)))
    assert (second.person_id, second.outcome) == (first.person_id, "matched")
    first, second = await site.seen("camera", ("hall", BERT), ("gate", like(BERT, 0.95)))
    assert (first.outcome, second.outcome) == ("created", "created")


async def test_known_persons_stay_known_when_cameras_begin_to_share_them(site: Site) -> None:
    """Persons of single cameras are recognised at every camera under their own ids, and nobody is made
    anew."""
    anna, bert = await site.seen("camera", ("door", ANNA), ("yard", BERT))
    seen = await site.seen("global", ("yard", like(ANNA, 0.95)), ("door", like(BERT, 0.95, 1)))
    assert [(one.person_id, one.outcome) for one in seen] == [
        (anna.person_id, "matched"),
        (bert.person_id, "matched"),
    ]
    old, *_, new = await site.faces()
    assert {"default", "cam_door", "ref_door", "persons", "references"} == set(old.galleries)
    assert {"persons"} <= set(new.galleries) <= {"default", "persons", "references"}


async def test_a_person_of_two_cameras_stays_two_until_they_are_merged(site: Site) -> None:
    """The change of scope decides nothing about who is who."""
    door, yard = await site.seen("camera", ("door", ANNA), ("yard", like(ANNA, 0.95)))
    assert door.person_id != yard.person_id
    await site.seen("global")
    assert [face["person_id"] for face in await site.faces()] == [door.person_id, yard.person_id]


async def test_known_persons_stay_known_at_their_cameras_when_these_stop_sharing(site: Site) -> None:
    """A person is known at each camera that saw them, and new to the others."""
    (anna,) = await site.seen("global", ("door", ANNA))
    door, yard = await site.seen("camera", ("door", like(ANNA, 0.95)), ("yard", like(ANNA, 0.95, 1)))
    assert (door.person_id, yard.outcome) == (anna.person_id, "created")


async def test_a_second_start_changes_nothing(site: Site) -> None:
    """Later starts find the galleries complete; what a box with another scope stored since is added."""
    (anna,) = await site.seen("camera", ("door", ANNA))
    async with site.open("global") as ctx:
        assert await follow_scope(ctx.database, "global") == 0
        face = await _only(ctx)
        before = {"$set": {"gallery": ["default", "cam_door"]}}
        await ctx.database["faces"].update_one({"_id": face["_id"]}, before)
        assert await follow_scope(ctx.database, "global") == 1
        assert set((await _only(ctx)).galleries) == {"default", "cam_door", "persons"}
    assert anna.person_id == face["person_id"]


async def _only(ctx: Context) -> Face:
    document = await ctx.database["faces"].find_one({})
    return ctx.faces.wrap_in_model(document)


async def test_a_malformed_face_does_not_stop_the_others(site: Site) -> None:
    """A face whose list of galleries is text stays as it is."""
    await site.seen("camera", ("door", ANNA), ("yard", BERT))
    async with site.open("camera") as ctx:
        first = await _only(ctx)
        await ctx.database["faces"].update_one({"_id": first["_id"]}, {"$set": {"gallery": "cam_door"}})
    async with site.open("global") as ctx:
        found = [one["gallery"] async for one in ctx.database["faces"].ungated.find({}).sort("_id", 1)]
    assert found[0] == "cam_door"
    assert {"persons", "references"} < set(found[1])


async def test_the_persons_of_other_cameras_do_not_count_for_a_camera_s_threshold(site: Site) -> None:
    """With persons of its own, a camera is searched among these and the enrolled people alone."""
    rates = (MatchRate(0.7, 100, 10_000, (0, 1), 0.9), MatchRate(0.8, 1, 10_000, (0, 1), 0.8))
    rule = AutoThreshold(Thresholds(0.95, 0.9, 0.6, match_rates=rates), fpir=0.01)
    async with site.open("camera") as ctx:
        user = await ctx.users.add({})
        for number in range(60):
            person = await ctx.persons.add(user, {})
            gallery = "ref_yard" if number else "ref_door"
            await stored(ctx, user, person_facen(number), [gallery], person_id=person["_id"])
        assert await ctx.persons.threshold_for(user, "cam_door", rule) == rule.for_gallery(1)
        assert await ctx.persons.threshold_for(user, "cam_yard", rule) == rule.for_gallery(59)
        assert await ctx.persons.threshold_for(user, "persons", rule) == rule.for_gallery(60)
