"""The recorder, with a real MongoDB and a real folder of pictures."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.faces.facen import decode
from pipeline.types import Emotions, FaceAttributes, Rectangle, Sighting
from store.collections.users import User
from store.context import Context
from store.observer import UnobservedStore
from store.settings import PersonsSettings
from store.spool.recorder import Recorder
from store.spool.spool import Spool
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import RECORDING, START, sighting
from tests.store_checks import assert_agreement, block, unblock

DEADLINE_SECONDS = 20


async def drained(recorder: Recorder) -> None:
    await asyncio.wait_for(recorder.drained(), DEADLINE_SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails after a while."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a look from outside, as an operator's
            await asyncio.sleep(0.02)


async def test_stores_a_complete_sighting(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """It becomes a face with every field, in both galleries, with a person and three pictures."""
    seen = sighting(1, score=-0.5)
    async with recording(ctx, user, spool) as running:
        sighting_id = spool.put(seen)
        await drained(running.recorder)
    (face,) = await assert_agreement(ctx, user, uploads, {sighting_id})
    assert face.bbox == seen.bbox
    assert np.allclose(decode(face["facen"]), seen.facen, atol=1e-6)
    assert face["photo_hash"] == hashlib.md5(seen.photo, usedforsecurity=False).hexdigest()
    assert face.timestamp == seen.captured_at.replace(microsecond=123000)
    expected = {"score": -0.5, "cam_id": "door", "media_time": 1.5, "friend": False, "meta": None}
    assert {name: face[name] for name in expected} == expected
    assert face["detector_info"]["visit_id"] == seen.visit_id
    assert face["detector_info"]["mode"] == "overall"
    assert face["detector_info"]["pack"] == seen.pack
    (event,) = running.events
    assert (event.sighting_id, event.face_id, event.created) == (sighting_id, face["_id"], True)
    assert (event.thumbnail, event.friend, event.confidence) == (face["thumbnail"], False, None)
    assert running.observer.outcomes == [("door", "stored")]
    assert event.outcome == "created"


async def test_attributes_are_stored_as_those_of_an_enrolled_face(
    ctx: Context, user: User, spool: Spool
) -> None:
    """Gender, age and the two most prevalent emotions; without attribute models the fields are absent."""
    emotions = Emotions(0.1, 0.0, 0.0, 0.7, 0.15, 0.05, 0.0)
    known = spool.put(sighting(1, attributes=FaceAttributes("female", 31.0, emotions)))
    spool.put(sighting(2))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    face, plain = await ctx.faces.find(user, None, sort=[("timestamp", 1)])
    assert face["sighting_id"] == known
    assert (face["gender"], face["age"], face["emotions"]) == ("female", 31.0, ("happy", "neutral"))
    assert not {"gender", "age", "emotions"} & set(plain)


async def test_recognises_people(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """Three people seen three times each are three persons: created at first, matched afterwards."""
    ids = {spool.put(sighting(person, look)) for look in range(3) for person in (1, 2, 3)}
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    faces = await assert_agreement(ctx, user, uploads, ids)
    assert len({face["person_id"] for face in faces}) == 3
    assert [event.created for event in running.events] == [True] * 3 + [False] * 6
    assert all(event.confidence is not None and event.confidence > 0.97 for event in running.events[3:])
    by_visit = {face["detector_info"]["visit_id"]: face["person_id"] for face in faces}
    for person in (1, 2, 3):
        assert len({by_visit[f"door-{person}-{look}"] for look in range(3)}) == 1


async def test_cameras_can_have_persons_of_their_own(store_settings: StoreArguments, spool: Spool) -> None:
    """With the scope `camera` a visitor seen by two cameras is a person at each of them."""
    settings = replace(store_settings, persons=PersonsSettings(scope="camera"))
    cameras = ["door", "yard", "door"]
    async with settings.open() as ctx:
        user = await ctx.users.add({})
        ids = {spool.put(sighting(1, look, cam_id=cam_id)) for look, cam_id in enumerate(cameras)}
        async with recording(ctx, user, spool) as running:
            await drained(running.recorder)
        await assert_agreement(ctx, user, settings.data_dir / "uploads", ids)
    first, other, again = running.events
    assert first.person_id == again.person_id != other.person_id


async def test_all_cameras_share_persons(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """By default a visitor seen by two cameras is one person."""
    ids = {spool.put(sighting(1, look, cam_id=cam_id)) for look, cam_id in enumerate(["door", "yard"])}
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    await assert_agreement(ctx, user, uploads, ids)
    assert len({event.person_id for event in running.events}) == 1


async def test_reports_friends(ctx: Context, user: User, spool: Spool) -> None:
    """A person seen on five earlier days of the week is a friend at the sixth sighting."""
    now = datetime.now(UTC)
    for look in range(6):
        spool.put(sighting(1, look, captured_at=now - timedelta(days=5 - look)))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    assert [event.friend for event in running.events] == [False] * 5 + [True]
    assert await ctx.faces.count(user, {"friend": True}) == 1


async def test_stores_oldest_first(ctx: Context, user: User, spool: Spool) -> None:
    """In the order of capture, not of arrival."""
    late, early = (spool.put(sighting(1, captured_at=START + timedelta(hours=hours))) for hours in (2, 1))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    assert [event.sighting_id for event in running.events] == [early, late]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pack": "buffalo_l"}, "model pack buffalo_l"),
        ({"facen": np.ones(512, np.float32)}, "the size 512"),
        ({"facen": np.full(128, np.nan, np.float32)}, "finite"),
        ({"facen": np.zeros(128, np.float32)}, "zero"),
        ({"photo_bytes": b"no picture at all"}, "its photo: these 17 bytes are not a picture"),
        ({"normalized_bytes": b""}, "no bytes"),
        ({"bbox": Rectangle(500.0, 500.0, 600.0, 600.0)}, "outside"),
        ({"bbox": Rectangle(0.0, float("nan"), 10.0, 10.0)}, "finite"),
        ({"cam_id": "../../etc"}, "gallery"),
        ({"cam_id": "c" * 45}, "gallery"),
    ],
)
async def test_a_malformed_sighting_becomes_a_dead_letter(
    ctx: Context,
    user: User,
    spool: Spool,
    uploads: Path,
    tmp_path: Path,
    changes: dict[str, object],
    reason: str,
) -> None:
    """With its reason, and without partial results; the next one is stored."""
    bad = spool.put(sighting(1, **changes))  # type: ignore[arg-type]  # wrong on purpose
    good = spool.put(sighting(2))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    await assert_agreement(ctx, user, uploads, {good})
    assert reason in (tmp_path / "spool" / "dead" / f"{bad}.sighting.reason").read_text()
    assert running.recorder.fault is None


async def test_a_damaged_file_becomes_a_dead_letter(
    ctx: Context, user: User, spool: Spool, tmp_path: Path
) -> None:
    """The recorder continues."""
    bad = spool.put(sighting(1))
    path = tmp_path / "spool" / f"{bad}.sighting"
    path.write_bytes(path.read_bytes()[:-5] + b"12345")
    spool.put(sighting(2))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    assert [event.visit_id for event in running.events] == ["door-2-0"]
    assert "sha256" in (tmp_path / "spool" / "dead" / f"{bad}.sighting.reason").read_text()


async def test_waits_while_pictures_cannot_be_written(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """The sighting waits and the fault has the reason; then it is stored once."""
    block(uploads)
    sighting_id = spool.put(sighting(1))
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.observer.outcomes) >= 3)
        assert running.recorder.fault is not None
        assert "uploads" in running.recorder.fault
        assert spool.pending() == [sighting_id]
        unblock(uploads)
        await drained(running.recorder)
    assert running.recorder.fault is None
    await assert_agreement(ctx, user, uploads, {sighting_id})
    assert {outcome for _, outcome in running.observer.outcomes[:-1]} == {"retried"}
    assert running.observer.outcomes[-1] == ("door", "stored")
    assert len(running.events) == 1


async def test_waits_for_an_inactive_user(ctx: Context, user: User, spool: Spool) -> None:
    """Sightings wait while their owner is disabled."""
    await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": False}})
    spool.put(sighting(1))
    async with recording(ctx, user["_id"], spool) as running:
        await until(lambda: running.recorder.fault is not None)
        assert running.recorder.fault is not None
        assert "not active" in running.recorder.fault
        await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": True}})
        await drained(running.recorder)
    assert len(running.events) == 1


async def test_stop_ends_a_long_pause_at_once(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """The sighting stays in the spool."""
    block(uploads)
    spool.put(sighting(1))
    recorder = Recorder(
        ctx,
        user,
        spool,
        RECORDING,
        UnobservedStore(),
        lambda _: None,
        first_pause_seconds=60,
        longest_pause_seconds=60,
    )
    task = asyncio.create_task(recorder.run())
    await until(lambda: recorder.fault is not None)
    since = time.perf_counter()
    recorder.stop()
    await asyncio.wait_for(task, 5)
    assert time.perf_counter() - since < 1
    assert len(spool) == 1


async def test_friends_are_evaluated_at_the_capture_time(ctx: Context, user: User, spool: Spool) -> None:
    """For sightings stored long after their capture, five days before the capture count."""
    for day in range(7):
        spool.put(sighting(1, day, captured_at=START + timedelta(days=day)))
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    seen = sorted(running.events, key=lambda event: event.captured_at)
    assert [event.friend for event in seen] == [False] * 5 + [True] * 2
    assert not await ctx.persons.is_friend(user, seen[0].person_id, "door")


async def test_completes_an_interrupted_attempt(
    ctx: Context, user: User, spool: Spool, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between any two steps and repeated, it stores one face and one person."""
    steps = [
        (ctx.persons, "is_friend"),
        (ctx.faces, "add"),
        (ctx.faces, "add_to_galleries"),
        (ctx.faces, "upload"),
    ]
    ids = set()
    for person, (owner, name) in enumerate(steps, start=1):
        ids.add(spool.put(sighting(person)))
        reached = asyncio.Event()

        async def hang(*_: object, reached: asyncio.Event = reached, **__: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        recorder = Recorder(ctx, user, spool, RECORDING, UnobservedStore(), lambda _: None)
        with monkeypatch.context() as patch:
            patch.setattr(type(owner), name, hang)
            task = asyncio.create_task(recorder.run())
            await asyncio.wait_for(reached.wait(), DEADLINE_SECONDS)
            task.cancel()
            await asyncio.wait([task])
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    faces = await assert_agreement(ctx, user, uploads, ids)
    assert len({face["person_id"] for face in faces}) == len(steps)


async def test_a_second_record_of_a_stored_sighting_changes_nothing(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """A sighting that returns after a power failure creates no second face."""
    seen = sighting(1)
    sighting_id = spool.put(seen)
    content = _file(spool, seen, sighting_id)
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    before = await ctx.faces.find(user, None)
    content[0].write_bytes(content[1])
    again = Spool(content[0].parent, 100_000_000, UnobservedStore())
    assert again.pending() == [sighting_id]
    async with recording(ctx, user, again) as running:
        await drained(running.recorder)
    assert await assert_agreement(ctx, user, uploads, {sighting_id}) == before
    assert [(event.sighting_id, event.created) for event in running.events] == [(sighting_id, True)]


def _file(spool: Spool, seen: Sighting, sighting_id: str) -> tuple[Path, bytes]:
    """Where the sighting's file is, and its bytes."""
    assert spool.get(sighting_id).visit_id == seen.visit_id
    path = spool.folder / f"{sighting_id}.sighting"
    return path, path.read_bytes()


async def test_does_not_block_the_event_loop(ctx: Context, user: User, spool: Spool) -> None:
    """Recording a large photo blocks the loop for less time than decoding it takes."""
    noise = np.random.default_rng(1).integers(0, 255, (3000, 4000, 3), np.uint8)
    photo = cv2.imencode(".jpg", noise)[1]
    since = time.perf_counter()
    cv2.imdecode(photo, cv2.IMREAD_COLOR)
    decoding_seconds = time.perf_counter() - since
    spool.put(sighting(1, photo_bytes=photo.tobytes()))
    lags = []

    async def watch() -> None:
        while True:
            since = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - since - 0.005)

    watcher = asyncio.create_task(watch())
    async with recording(ctx, user, spool) as running:
        await drained(running.recorder)
    watcher.cancel()
    assert len(running.events) == 1
    assert max(lags) < decoding_seconds / 2
