"""Persons with references like another person's, found by the means of all."""

import asyncio
from itertools import combinations

import numpy as np
import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.faces.facen import confidence
from store.facens.engine.gallery_array import Precision
from store.facens.engine.local import LocalFacens
from store.identity import neighbours as person_neighbours
from store.identity.neighbours import Assigned, Pairs, _compare_means

OWNER = ObjectId()
SIZE = 16
THRESHOLD, LEAST = 0.85, 0.8


class Gallery:
    """References of persons, some of whom look like another one."""

    def __init__(self, seed: int, persons: int, most: int) -> None:
        rng = np.random.default_rng(seed)
        looks = rng.standard_normal((persons, SIZE))
        for person in range(1, persons, 2):
            looks[person] = looks[person - 1] + rng.uniform(0, 2) * rng.standard_normal(SIZE)
        self.persons = np.repeat(rng.permutation(persons) + 10, rng.integers(1, most + 1, persons))
        vectors = looks[self.persons - 10] + 0.3 * rng.standard_normal((len(self.persons), SIZE))
        self.facens = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        self.ids = rng.permutation(10 * len(self.persons))[: len(self.persons)] + 1

    def assigned(self) -> Assigned:
        order = np.argsort(self.ids)
        return Assigned(self.ids[order].astype(np.int64), self.persons[order].astype(np.int64))

    async def stored(self, shards: int = 1, precision: Precision = Precision.FULL) -> list[LocalFacens]:
        made = [LocalFacens(SIZE, precision=precision) for _ in range(shards)]
        for face_id, facen in zip(self.ids.tolist(), self.facens, strict=True):
            await made[face_id % shards].add(OWNER, "references", face_id, facen)
        return made

    def expected(self) -> Pairs:
        """One pair of persons after the other, as simply as possible."""
        rows = {one: self.facens[self.persons == one] for one in np.unique(self.persons).tolist()}
        means = {one: theirs.sum(axis=0) / np.linalg.norm(theirs.sum(axis=0)) for one, theirs in rows.items()}
        return {
            (one, other)
            for one, other in combinations(sorted(rows), 2)
            if confidence(float(means[one] @ means[other])) >= LEAST
            and confidence(float((rows[one] @ rows[other].T).max())) >= THRESHOLD
        }


def compared(gallery: Gallery, shards: int = 1) -> Pairs:
    async def work() -> Pairs:
        made = await gallery.stored(shards)
        return await _compare_means(made, OWNER, "references", gallery.assigned(), THRESHOLD, LEAST)

    return asyncio.run(work())


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 9), st.integers(1, 3))
def test_the_same_pairs_are_found_as_by_comparing_all(
    seed: int, persons: int, most: int, shards: int
) -> None:
    """However many references a person has, in one shard or several."""
    gallery = Gallery(seed, persons, most)
    assert compared(gallery, shards) == gallery.expected()


def test_parts_that_are_compared_one_after_the_other_miss_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """More persons than are compared at once, and more pairs than are looked at at once."""
    gallery = Gallery(7, 300, 4)
    expected = gallery.expected()
    for name, value in {"ROWS": 16, "COLUMNS": 32, "BATCH_REFERENCES": 5, "MEANS_AT_ONCE": 1}.items():
        monkeypatch.setattr(person_neighbours, name, value)
    assert len(expected) > 20
    assert compared(gallery) == expected


def test_where_everybody_is_alike_each_keeps_the_most_similar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays small, and the most similar persons are still found."""
    gallery = Gallery(7, 100, 1)
    gallery.facens[:] = gallery.facens[0] + 0.02 * gallery.facens
    gallery.facens /= np.linalg.norm(gallery.facens, axis=1, keepdims=True)
    for name, value in {"ROWS": 16, "COLUMNS": 32, "MAX_SIMILAR": 3, "PRUNE_ABOVE": 200}.items():
        monkeypatch.setattr(person_neighbours, name, value)
    found = compared(gallery)
    cosines = gallery.facens @ gallery.facens.T
    np.fill_diagonal(cosines, -1)
    for row, column in enumerate(cosines.argmax(axis=1).tolist()):
        one, other = sorted((int(gallery.persons[row]), int(gallery.persons[column])))
        assert (one, other) in found
    assert len(found) <= 2 * 3 * 100


def test_faces_that_are_only_in_one_of_both_are_passed_over() -> None:
    """MongoDB and the storage may disagree for a moment."""
    gallery = Gallery(3, 20, 2)
    gallery_of_fewer = Gallery(3, 20, 2)
    kept = np.arange(len(gallery.ids)) % 5 > 0
    gallery_of_fewer.ids = gallery.ids[kept]
    gallery_of_fewer.persons, gallery_of_fewer.facens = gallery.persons[kept], gallery.facens[kept]
    expected = gallery_of_fewer.expected()

    async def work(stored: Gallery, assigned: Assigned) -> Pairs:
        return await _compare_means(await stored.stored(), OWNER, "references", assigned, THRESHOLD, LEAST)

    assert asyncio.run(work(gallery, gallery_of_fewer.assigned())) == expected
    assert asyncio.run(work(gallery_of_fewer, gallery.assigned())) == expected
    nobody = Assigned(np.empty(0, np.int64), np.empty(0, np.int64))
    assert asyncio.run(work(gallery, nobody)) == set()
