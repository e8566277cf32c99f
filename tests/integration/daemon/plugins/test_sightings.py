"""Hooks on the way of sightings from the spool into a real store."""

import asyncio
from pathlib import Path

import pytest

from store import Context, User
from store.observer import UnobservedStore
from store.spool.recording import Recording, SightingGate
from store.spool.spool import Spool
from tests.plugins import Site, site, written
from tests.sightings import RECORDING, sighting
from tests.store_checks import assert_agreement

NOTES = """
import asyncio
from daemon.plugins import Refuse

def activate(app, ctx, options):
    asked, told = [], []

    async def before(sighting, face):
        asked.append(sighting.cam_id)
        if sighting.cam_id == "closed":
            raise Refuse("closed on Sundays")
        face["meta"] = f"seen at {sighting.cam_id}"
        known = await ctx.persons.count(app.user, {})
        return {"persons_before": known, "asked": len(asked), "told": len(told)}

    def after(stored):
        told.append(stored.face_id)

    app.add_sighting_hook(before=before, after=after)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return written(tmp_path / "plugins", {"notes": NOTES})


async def test_sightings_are_annotated_before_they_are_stored(
    ctx: Context, user: User, spool: Spool, notes: Path, tmp_path: Path
) -> None:
    """The stored face keeps the note and the text; the hook was asked before the person was made."""
    ids = {spool.put(sighting(person)) for person in (1, 2)}
    async with site(ctx, user, notes) as running:
        await running.record(ctx, user, spool)
        assert running.counted("door", "stored") == 2
    first, second = await assert_agreement(ctx, user, tmp_path / "uploads", ids)
    assert first["annotations"]["notes"]["persons_before"] == 0
    assert second["annotations"]["notes"]["persons_before"] == 1
    assert (first["meta"], second["meta"]) == ("seen at door", "seen at door")


async def test_a_refused_sighting_leaves_nothing_and_is_counted(
    ctx: Context, user: User, spool: Spool, notes: Path, tmp_path: Path
) -> None:
    """No face, person or picture is stored, the spool is empty, and /status has the reason."""
    for look in range(3):
        spool.put(sighting(1, look, cam_id="closed"))
    kept = spool.put(sighting(2))
    async with site(ctx, user, notes) as running:
        await running.record(ctx, user, spool)
        assert running.counted("closed", "refused") == 3
        assert running.counted("closed", "stored") == running.counted("closed", "dead") == 0
        status = (await running.status())["notes"]
        assert status["refused"] == {"closed on Sundays": 3}
        assert (status["state"], status["failures"]) == ("active", 0)
    await assert_agreement(ctx, user, tmp_path / "uploads", {kept})
    assert await ctx.persons.count(user, {}) == 1
    assert not list((tmp_path / "spool").glob("**/*.sighting"))


async def record(ctx: Context, user: User, running: Site, sighting_id: str) -> dict[str, int]:
    gate: SightingGate = running.plugins
    recording = Recording(ctx, user, RECORDING, UnobservedStore(), gate)
    stored = await recording.record(sighting_id, sighting(1))
    face = await ctx.faces.find_one(user, {"_id": stored.face_id})
    assert face is not None
    return face["annotations"]["notes"]


async def test_a_replay_after_a_kill_doubles_nothing(ctx: Context, user: User, notes: Path) -> None:
    """Killed after the face was stored: a new process does not ask again, and the note stays one."""
    async with site(ctx, user, notes) as running:
        first = await record(ctx, user, running, "000000000000001_" + 32 * "a")
    async with site(ctx, user, notes) as after_the_kill:
        again = await record(ctx, user, after_the_kill, "000000000000001_" + 32 * "a")
        assert again == first
        other = await record(ctx, user, after_the_kill, "000000000000002_" + 32 * "b")
        assert (other["asked"], first["asked"]) == (1, 1)
    assert await ctx.faces.count(user, {}) == 2


async def test_a_replay_before_the_face_is_stored_asks_again(ctx: Context, user: User, notes: Path) -> None:
    """Killed between the answer and the face: asked again in the new process, stored once with the note."""
    seen = sighting(1)
    async with site(ctx, user, notes) as killed:
        face = ctx.faces.wrap_in_model({"meta": None})
        await killed.plugins.admit("000000000000001_" + 32 * "a", seen, face)
        assert face["annotations"]["notes"]["asked"] == 1
    async with site(ctx, user, notes) as running:
        note = await record(ctx, user, running, "000000000000001_" + 32 * "a")
        assert note == {"persons_before": 0, "asked": 1, "told": 0}
    assert await ctx.faces.count(user, {}) == 1


async def test_hooks_after_storing_are_told_once_of_each(
    ctx: Context, user: User, spool: Spool, tmp_path: Path
) -> None:
    """In order, with person and pictures; a failing hook is reported and the others are notified."""
    text = """
from daemon.plugins import BaseHandler
def activate(app, ctx, options):
    told = []
    class Told(BaseHandler):
        async def get(self):
            return told
    async def after(stored):
        face = await ctx.faces.find_one(app.user, {"_id": stored.face_id})
        told.append({"face": stored.face_id, "person": stored.person_id, "known": face["person_id"]})
    def bad(stored):
        raise OSError("no network")
    app.add_handlers(".*", [("/told", Told)])
    app.add_sighting_hook(after=after)
    app.add_sighting_hook(after=bad)
"""
    for person in (1, 2):
        spool.put(sighting(person))
    async with site(ctx, user, written(tmp_path / "plugins", {"tell": text})) as running:
        await running.record(ctx, user, spool)
        async with asyncio.timeout(10):
            while (await running.status())["tell"]["lost"] < 2:  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.02)
        told = (await running.ask("GET", "/told", user)).json()
        status = (await running.status())["tell"]
    faces = await ctx.faces.find(user, {}, sort=[("_id", 1)])
    assert [one["face"] for one in told] == [face["_id"] for face in faces]
    assert all(one["person"] == one["known"] for one in told)
    assert (status["error"], status["failures"]) == ("after 2: OSError: no network", 2)


async def test_a_hanging_hook_does_not_stop_the_storing(
    ctx: Context, user: User, spool: Spool, tmp_path: Path
) -> None:
    """Every sighting is stored; after five failures the hook is suspended and takes no time."""
    text = """
import threading
def activate(app, ctx, options):
    app.add_sighting_hook(before=lambda sighting, face: threading.Event().wait(30))
"""
    ids = {spool.put(sighting(person)) for person in range(1, 9)}
    async with site(ctx, user, written(tmp_path / "plugins", {"hang": text}), timeout_seconds=0.3) as running:
        await running.record(ctx, user, spool)
        status = (await running.status())["hang"]
        assert (status["state"], status["failures"]) == ("resting", 5)
        assert running.counted("door", "stored") == 8
    await assert_agreement(ctx, user, tmp_path / "uploads", ids)
