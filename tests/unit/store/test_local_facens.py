"""The facen storage in memory, where threads and the event loop meet."""

import asyncio
import threading

import pytest
from bson import ObjectId

from store.facens import LocalFacens
from store.facens import local as local_module
from store.facens.gallery_array import View
from tests.facens import person_facen

OWNER = ObjectId()


class HeldView:
    """Searches of a gallery that wait, in their thread, until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        search = View.search

        def held(view: View, *question: object) -> object:
            self.begun.set()
            assert self.go_on.wait(10)
            return search(view, *question)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(View, "search", held)
        monkeypatch.setattr(local_module, "OFF_LOOP_NUMBERS", 0)


async def test_a_removal_waits_for_a_running_search_and_an_addition_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search never sees a row move; what is added meanwhile does not disturb it."""
    storage = LocalFacens()
    for number in range(16):
        await storage.add(OWNER, "g", number, person_facen(number))
    held = HeldView(monkeypatch)
    search = asyncio.create_task(storage.search(OWNER, "g", person_facen(15), 1, 0.9))
    await asyncio.to_thread(held.begun.wait, 10)
    removal = asyncio.create_task(storage.remove(OWNER, "g", 0))
    for number in range(16, 40):
        await storage.add(OWNER, "g", number, person_facen(number))
    await asyncio.sleep(0.05)
    assert not removal.done()
    held.go_on.set()
    assert [hit.id for hit in (await search).hits] == [15]
    assert await removal
    assert await storage.ids(OWNER, "g") == list(range(1, 40))


async def test_a_cancelled_search_keeps_removals_out_until_its_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for the answer any more, but the thread still looks at the rows."""
    storage = LocalFacens()
    await storage.add(OWNER, "g", 0, person_facen(0))
    await storage.add(OWNER, "g", 1, person_facen(1))
    held = HeldView(monkeypatch)
    search = asyncio.create_task(storage.search(OWNER, "g", person_facen(1), 1, 0.9))
    await asyncio.to_thread(held.begun.wait, 10)
    search.cancel()
    removal = asyncio.create_task(storage.remove(OWNER, "g", 0))
    await asyncio.sleep(0.05)
    assert not removal.done()
    held.go_on.set()
    assert await removal
    with pytest.raises(asyncio.CancelledError):
        await search


async def test_a_gallery_that_is_emptied_gives_its_memory_back() -> None:
    """Many additions and removals leave neither ghosts nor growth."""
    storage = LocalFacens()
    facen = person_facen(0)
    for round_ in range(20):
        await storage.add_many(OWNER, "g", ((round_ * 1000 + number, facen) for number in range(1000)))
        for number in range(1000):
            assert await storage.remove(OWNER, "g", round_ * 1000 + number)
    assert await storage.count(OWNER, "g") == 0
    assert await storage.galleries() == []
    assert (await storage.health())[0].facens == 0
