"""Hooks: what they may say, and what becomes of those that fail."""

import asyncio
import threading
import time

import numpy as np
import pytest

from daemon.plugins import Refuse
from daemon.plugins.errors import OverdueFault, PluginFault
from daemon.plugins.hook import FAILURES_TO_REST, FIRST_REST_SECONDS, MAX_REST_SECONDS
from daemon.plugins.sighting_hooks import ANNOTATION_BYTES, SightingHooks
from store.errors import RefusedSightingError, StoreUnavailableError
from tests.facens import face, person_facen
from tests.plugins import plugin_hook
from tests.sightings import sighting

SEEN = sighting(1)


class Clock:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


async def admitted(*hooks, sighting_id="s1"):
    """The face after the hooks were asked."""
    asked = face(person_facen(1))
    await SightingHooks(before=hooks).admit(sighting_id, SEEN, asked)
    return asked


async def test_a_hook_annotates_under_its_name_and_sets_meta():
    """The dictionary is stored under the plugin's name, numpy values as plain ones; meta is text."""

    async def look(seen, shown):
        shown["meta"] = f"from {seen.cam_id}"
        return {"weight": np.float32(0.5), "tags": ("a", "b")}

    asked = await admitted(plugin_hook(look))
    assert asked["annotations"] == {"plug": {"weight": 0.5, "tags": ["a", "b"]}}
    assert asked["meta"] == "from door"


async def test_hooks_are_asked_in_turn_and_see_what_was_said():
    """Plain functions and coroutines mix; each sees the notes of those before."""

    def first(_seen, shown):
        shown["meta"] = "first"
        return {"n": 1}

    async def second(_seen, shown):
        return {"seen": dict(shown["annotations"]), "meta": shown["meta"], "png": shown.normalized[:4]}

    asked = await admitted(plugin_hook(first, "a"), plugin_hook(second, "b"))
    assert asked["annotations"]["b"] == {"seen": {"a": {"n": 1}}, "meta": "first", "png": b"\x89PNG"}


async def test_nothing_else_that_a_hook_does_to_the_face_counts():
    """Ids, facen, person and the notes of others cannot be changed by a hook."""

    def meddle(_seen, shown):
        shown.update(_id=7, facen="none", person_id=9, score=0.0, annotations={"other": {}}, extra=1)
        shown["bbox"] = (0, 0, 1, 1)

    expected = dict(face(person_facen(1)))
    asked = dict(await admitted(plugin_hook(meddle)))
    del expected["timestamp"], asked["timestamp"]
    assert asked == expected


@pytest.mark.parametrize("raised", [True, False])
async def test_a_refusal_ends_the_asking_and_is_counted(raised):
    """Raised or returned: the sighting is refused with plugin and reason; later hooks do not run."""
    asked = []

    def refuse(_seen, _face):
        if raised:
            raise Refuse("too dark")
        return Refuse("too dark")

    refusing = plugin_hook(refuse, "gate")
    with pytest.raises(RefusedSightingError, match="gate refuses it: too dark"):
        await admitted(refusing, plugin_hook(lambda *_: asked.append(1)))
    assert not asked
    assert refusing.plugin.status().refused == {"too dark": 1}
    assert refusing.plugin.status().failures == 0


async def test_a_sighting_is_asked_about_once_however_often_it_is_tried():
    """Attempts that fail for other reasons, and a refusal that is repeated, do not ask or count again."""
    calls = []

    def look(_seen, _face):
        calls.append(1)
        if len(calls) == 2:
            raise Refuse("second")
        return {"n": len(calls)}

    looking = plugin_hook(look)
    gate = SightingHooks(before=[looking])
    for _ in range(3):
        asked = face(person_facen(1))
        await gate.admit("s1", SEEN, asked)
        assert asked["annotations"] == {"plug": {"n": 1}}
    for _ in range(3):
        with pytest.raises(RefusedSightingError):
            await gate.admit("s2", SEEN, face(person_facen(1)))
    assert len(calls) == 2
    assert looking.plugin.refused == {"second": 1}


async def raising(_seen, _face):
    raise ZeroDivisionError("oh")


async def leaving(_seen, _face):
    raise SystemExit(1)


async def sleeping(_seen, _face):
    await asyncio.sleep(60)


async def stubborn(_seen, _face):
    """Does not let itself be cancelled at once."""
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue


async def cancelling(_seen, _face):
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (raising, "before: ZeroDivisionError: oh"),
        (leaving, "before: SystemExit: 1"),
        (sleeping, "before: did not end within 0.1 s"),
        (stubborn, "before: did not end within 0.1 s"),
        (cancelling, "before: CancelledError"),
        (lambda *_: time.sleep(0.3), "before: did not end within 0.1 s"),
        (lambda *_: 5, "before: it returned int"),
        (lambda *_: {"a.b": 1}, "before: what it returned cannot be stored"),
        (lambda *_: {"x": object()}, "before: what it returned cannot be stored"),
        (lambda *_: {"x": 2**80}, "before: what it returned cannot be stored"),
        (lambda *_: {"x": "y" * ANNOTATION_BYTES}, "bytes; at most"),
        (lambda _seen, shown: shown.update(meta=5), "before: it set the face's meta"),
        (lambda: None, "before: TypeError"),
    ],
)
async def test_a_hook_that_fails_has_no_say(function, error):
    """Any failure is logged and counted, the sighting is stored, and the next hook runs."""
    failing = plugin_hook(function, "bad", seconds=0.1)
    asked = await asyncio.wait_for(admitted(failing, plugin_hook(lambda *_: {"fine": True}, "good")), 5)
    assert asked["annotations"] == {"good": {"fine": True}}
    assert asked["meta"] is None
    status = failing.plugin.status()
    assert error in status.error
    assert (status.failures, status.state) == (1, "active")


async def test_a_loop_that_is_held_up_makes_no_hook_overdue():
    """The time in which the hook could not run is not its own: its refusal counts."""

    async def refuse(_seen, _face):
        for _ in range(3):
            await asyncio.sleep(0.01)
        raise Refuse("too dark")

    refusing = plugin_hook(refuse, "gate", seconds=0.5)
    asyncio.get_running_loop().call_later(0.005, time.sleep, 1)
    with pytest.raises(RefusedSightingError, match="too dark"):
        await admitted(refusing)
    assert refusing.plugin.status().failures == 0


async def test_a_hook_that_cannot_reach_the_store_makes_the_sighting_wait():
    """Until it rests; then the sighting is stored without it."""

    async def away(_seen, _face):
        raise StoreUnavailableError("mongod is away")

    waiting = plugin_hook(away)
    gate = SightingHooks(before=[waiting])
    for _ in range(FAILURES_TO_REST - 1):
        with pytest.raises(StoreUnavailableError):
            await gate.admit("s1", SEEN, face(person_facen(1)))
    await gate.admit("s1", SEEN, face(person_facen(1)))
    assert waiting.plugin.state == "resting"


async def test_a_hook_rests_after_failing_too_often_and_comes_back():
    """Five failures in a row: a minute's rest, doubled by each failed trial, over with a success."""
    clock, works = Clock(), []

    def now_and_then():
        if not works:
            raise OSError("away")
        return "fine"

    tried = plugin_hook(now_and_then, clock=clock)

    async def fail():
        with pytest.raises(OSError, match="away"):
            await tried.call(accept=str)

    for _ in range(FAILURES_TO_REST):
        assert not tried.rests
        await fail()
    rest = FIRST_REST_SECONDS
    for _ in range(8):
        assert tried.plugin.state == "resting"
        clock.time += rest - 1
        assert tried.rests
        clock.time += 1
        assert not tried.rests
        await fail()
        rest = min(2 * rest, MAX_REST_SECONDS)
    clock.time += MAX_REST_SECONDS
    works.append(1)
    assert await tried.call(accept=str) == "fine"
    assert tried.plugin.state == "active"
    works.clear()
    await fail()
    assert not tried.rests


async def test_a_thread_that_hangs_is_not_joined_by_others():
    """While an earlier call has not ended the hook is not called again, and fails at once."""
    release, calls = threading.Event(), []

    def hang():
        calls.append(1)
        release.wait(20)

    hanging = plugin_hook(hang, seconds=0.05)
    with pytest.raises(OverdueFault, match=r"0\.05 s"):
        await hanging.call(accept=str)
    for _ in range(3):
        with pytest.raises(PluginFault, match="earlier call"):
            await hanging.call(accept=str)
    assert calls == [1]
    release.set()
    async with asyncio.timeout(5):
        while len(calls) == 1:
            await asyncio.sleep(0.01)
            try:
                await hanging.call(accept=str)
            except PluginFault:
                continue
