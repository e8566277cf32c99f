"""Approximate search: recall, and changes of the gallery."""

from collections.abc import Sequence

import numpy as np
import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from pipeline.types import Facen
from store.facens.engine import local
from store.facens.engine.approximate import CANDIDATES, ChangedRows
from store.facens.engine.gallery_array import Precision
from store.facens.engine.local import MAX_PICKED, LocalFacens

SIZE, FACES = 128, 1200
OWNER = ObjectId()


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search among these is worth a thread, and codes."""
    monkeypatch.setattr(local, "MIN_THREAD_VALUES", FACES * SIZE // 2)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def people(number: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((number, SIZE)))


def other_pictures(facens: np.ndarray, cosine: float = 0.7) -> list[Facen]:
    return list(unit(cosine * facens + np.sqrt(1 - cosine**2) * people(len(facens), seed=1)))


async def filled(
    facens: np.ndarray, precision: Precision = Precision.FULL, ids: Sequence[int] | None = None
) -> LocalFacens:
    """A storage whose gallery has its codes. Ids count from 0 unless told."""
    storage = LocalFacens(SIZE, precision=precision, approximate_from=1000)
    await storage.add_many(OWNER, "g", zip(ids or range(len(facens)), facens, strict=True))
    await storage.search(OWNER, "g", facens[0], 1, 0)
    await storage.approximations.ready()
    assert storage.approximations.get((OWNER, "g"), storage._galleries[OWNER, "g"], 1) is not None
    return storage


async def nearest(storage: LocalFacens, facen: Facen) -> int:
    return (await storage.search(OWNER, "g", facen, 1, 0)).hits[0].id


@pytest.mark.parametrize("precision", Precision)
async def test_the_nearest_is_found_with_its_exact_confidence(precision: Precision) -> None:
    """Approximate and exact search find the same faces for other pictures of 100 people."""
    facens = people(FACES)
    storage, exact = await filled(facens, precision), LocalFacens(SIZE, precision=precision)
    await exact.add_many(OWNER, "g", enumerate(facens))
    probes = other_pictures(facens[:100])
    expected = await exact.search_many(OWNER, "g", probes, 1, 0.75)
    assert [found.hits[0].id for found in expected] == list(range(100))
    one_by_one = [await storage.search(OWNER, "g", probe, 1, 0.75) for probe in probes]
    together = await storage.search_many(OWNER, "g", probes, 1, 0.75)
    for found in (one_by_one, together):
        assert [one.hits[0].id for one in found] == [one.hits[0].id for one in expected]
        assert [one.hits[0].confidence for one in found] == pytest.approx(
            [one.hits[0].confidence for one in expected], abs=1e-5
        )
    await storage.close()


async def test_the_best_come_first_and_of_equal_ones_the_smaller_id() -> None:
    facens = people(FACES)
    facens[[100, 500, 900]] = facens[7]
    facens[[300, 1100]] = other_pictures(facens[[7, 7]])
    storage = await filled(facens, ids=[2 * FACES - row for row in range(FACES)])
    found = await storage.search(OWNER, "g", facens[7], 6, 0.8)
    near, far = sorted((300, 1100), key=lambda row: -float(facens[row] @ facens[7]))
    assert [2 * FACES - hit.id for hit in found.hits] == [900, 500, 100, 7, near, far]
    await storage.close()


async def test_changes_are_effective_at_once() -> None:
    """Added faces are found and removed ones are not, before new codes are computed."""
    facens = people(FACES)
    storage = await filled(facens)
    codes = storage.approximations._ready[OWNER, "g"]
    new = people(30, seed=2)
    for number in range(30):
        await storage.remove(OWNER, "g", 7 * number)
        await storage.add(OWNER, "g", FACES + number, new[number])
        assert await nearest(storage, new[number]) == FACES + number
        assert await nearest(storage, facens[7 * number]) != 7 * number
    moved = [FACES - 1, FACES - 50, 1, 8]
    assert [await nearest(storage, facens[number]) for number in moved] == moved
    assert storage.approximations._ready[OWNER, "g"] is codes
    await storage.close()


async def test_a_gallery_that_shrinks_and_grows_finds_no_removed_faces() -> None:
    """The last rows are removed, and others replace them."""
    facens, new = people(FACES), people(60, seed=2)
    storage = await filled(facens)
    for number in range(FACES - 60, FACES):
        await storage.remove(OWNER, "g", number)
    gone = [await nearest(storage, facens[number]) for number in range(FACES - 60, FACES)]
    assert max(gone) < FACES - 60
    await storage.add_many(OWNER, "g", ((FACES + number, facen) for number, facen in enumerate(new)))
    assert [await nearest(storage, facen) for facen in new] == [FACES + number for number in range(60)]
    await storage.close()


async def test_many_changes_start_new_codes() -> None:
    """Meanwhile and afterwards all faces are found; the log has the recall."""
    facens, new = people(FACES), people(FACES // 8, seed=2)
    storage = await filled(facens)
    before = storage.approximations._ready[OWNER, "g"]
    await storage.add_many(OWNER, "g", ((FACES + number, facen) for number, facen in enumerate(new)))
    with capture_logs() as lines:
        assert await nearest(storage, new[0]) == FACES
        await storage.add(OWNER, "g", 3 * FACES, people(1, seed=3)[0])
        await storage.approximations.ready()
    assert storage.approximations._ready[OWNER, "g"] is not before
    (line,) = [line for line in lines if line["event"] == "a gallery is searched approximately"]
    assert line["faces"] == FACES + FACES // 8
    assert line["recall"] >= 0.995
    assert await nearest(storage, people(1, seed=3)[0]) == 3 * FACES
    assert await nearest(storage, new[-1]) == FACES + len(new) - 1
    assert len(storage._galleries[OWNER, "g"].listeners) == 1
    await storage.close()


async def test_who_wants_many_or_names_some_gets_them_exactly() -> None:
    facens = people(FACES)
    storage, probe = await filled(facens), people(1, seed=5)[0]
    order = np.argsort(-(facens @ probe), kind="stable")
    many = await storage.search(OWNER, "g", probe, CANDIDATES, 0)
    assert [hit.id for hit in many.hits] == order[:CANDIDATES].tolist()
    few = order[::3]
    assert len(few) > MAX_PICKED
    among = await storage.search(OWNER, "g", probe, 5, 0, allowed=few)
    assert [hit.id for hit in among.hits] == few[:5].tolist()
    await storage.close()


async def test_dropping_a_gallery_removes_its_codes() -> None:
    """Also while they are computed; a new gallery of the same name gets its own codes."""
    facens, others = people(FACES), people(FACES, seed=6)
    storage = LocalFacens(SIZE, approximate_from=1000)
    await storage.add_many(OWNER, "g", enumerate(facens))
    await storage.search(OWNER, "g", facens[0], 1, 0)
    await storage.drop(OWNER, "g")
    assert (await storage.search(OWNER, "g", facens[0], 1, 0)).hits == []
    await storage.add_many(OWNER, "g", enumerate(others))
    await storage.search(OWNER, "g", others[0], 1, 0)
    await storage.approximations.ready()
    assert await nearest(storage, others[17]) == 17
    await storage.drop(OWNER, "g")
    assert await storage.memory() == 0
    await storage.close()


def test_rows_that_were_written_are_always_among_the_compared() -> None:
    changed_rows = ChangedRows(10)
    for row in (3, 12, 3):
        changed_rows.record(row)
    rows = np.array([2, 3, 9], dtype=np.intp)
    assert changed_rows.with_changed(rows, 13).tolist() == [2, 3, 9, 10, 11, 12]
    assert changed_rows.with_changed(rows[:1], 13).tolist() == [2, 3, 10, 11, 12]
    assert changed_rows.with_changed(rows, 3).tolist() == [2]
    assert changed_rows.overwritten == 1
