"""A stateful test: any sequence of operations on a facen storage agrees with dictionaries."""

import asyncio
from collections import defaultdict

import numpy as np
import pytest
from bson import ObjectId
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pipeline.faces.facen import cosine
from store.errors import FacenExistsError
from store.facens import FacenStorage, LocalFacens
from store.facens.engine import local as local_module
from store.facens.engine.sharded import ShardedFacens
from tests.facens import person_facen

SIZE = 8
OWNERS = ObjectId(), ObjectId()
PLACES = st.sampled_from([(owner, gallery) for owner in OWNERS for gallery in ("g", "h")])
IDS = st.integers(0, 30)
"""Few, so that they meet again; the facen of an id differs from place to place and time to time."""


class Storage(RuleBasedStateMachine):
    """Beside each other: the storage, and what it should hold."""

    @staticmethod
    def made() -> FacenStorage:
        return LocalFacens()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.storage = self.made()
        self.plain: dict[tuple[ObjectId, str], dict[int, np.ndarray]] = defaultdict(dict)

    @rule(place=PLACES, face_id=IDS, person=st.integers(0, 200))
    def add(self, place: tuple[ObjectId, str], face_id: int, person: int) -> None:
        facen = person_facen(person, SIZE)
        if face_id in self.plain[place]:
            with pytest.raises(FacenExistsError):
                self.runner.run(self.storage.add(*place, face_id, facen))
        else:
            self.runner.run(self.storage.add(*place, face_id, facen))
            self.plain[place][face_id] = facen

    @rule(place=PLACES, ids=st.lists(IDS, max_size=20), person=st.integers(0, 200))
    def add_many(self, place: tuple[ObjectId, str], ids: list[int], person: int) -> None:
        entries = [(face_id, person_facen(person + face_id, SIZE)) for face_id in ids]
        new = {face_id: facen for face_id, facen in entries if face_id not in self.plain[place]}
        assert self.runner.run(self.storage.add_many(*place, entries)) == len(new)
        self.plain[place] |= new

    @rule(place=PLACES, face_id=IDS)
    def remove(self, place: tuple[ObjectId, str], face_id: int) -> None:
        there = self.plain[place].pop(face_id, None) is not None
        assert self.runner.run(self.storage.remove(*place, face_id)) == there

    @rule(place=PLACES, ids=st.lists(IDS, max_size=20, unique=True), person=st.integers(0, 200))
    def compare(self, place: tuple[ObjectId, str], ids: list[int], person: int) -> None:
        plain = self.plain[place]
        entries = [(face_id, person_facen(person + face_id, SIZE)) for face_id in ids]
        other = [face_id for face_id, facen in entries if (plain.get(face_id, facen) != facen).any()]
        same = sum(face_id in plain for face_id in ids) - len(other)
        assert self.runner.run(self.storage.compare(*place, entries)) == (same, sorted(other))

    @rule(place=PLACES)
    def drop(self, place: tuple[ObjectId, str]) -> None:
        self.runner.run(self.storage.drop(*place))
        self.plain.pop(place, None)

    @rule(
        place=PLACES,
        person=st.integers(0, 200),
        limit=st.integers(1, 8),
        threshold=st.sampled_from([0.0, 0.5, 0.7, 1.0]),
        allowed=st.none() | st.sets(IDS),
    )
    def search(
        self,
        place: tuple[ObjectId, str],
        person: int,
        limit: int,
        threshold: float,
        allowed: set[int] | None,
    ) -> None:
        query = person_facen(person, SIZE)
        alike = {
            face_id: float(facen @ query)
            for face_id, facen in self.plain[place].items()
            if allowed is None or face_id in allowed
        }
        near = [face_id for face_id, value in alike.items() if value >= cosine(threshold) - 1e-6]
        # Products of the same two facens may differ in the last bit: rounded, and then by id.
        expected = sorted(near, key=lambda face_id: (-round(alike[face_id], 5), face_id))[:limit]
        found = self.runner.run(self.storage.search(*place, query, limit, threshold, allowed))
        assert [hit.id for hit in found.hits] == expected
        if allowed is None:
            (many,) = self.runner.run(self.storage.search_many(*place, [query], limit, threshold))
            assert [hit.id for hit in many.hits] == expected

    @invariant()
    def holds_the_same(self) -> None:
        for place, facens in self.plain.items():
            assert self.runner.run(self.storage.ids(*place)) == sorted(facens)
        filled = sorted(place for place, facens in self.plain.items() if facens)
        assert self.runner.run(self.storage.galleries()) == filled
        counted = sum(shard.facens for shard in self.runner.run(self.storage.health()))
        assert counted == sum(map(len, self.plain.values()))

    def teardown(self) -> None:
        self.runner.run(self.storage.close())
        self.runner.close()


class InThreads(Storage):
    """Every search in a thread, and every list of allowed ids taken as a long one."""


class ThreeShards(Storage):
    """The same over three shards."""

    @staticmethod
    def made() -> FacenStorage:
        names = [f"shard {number}" for number in range(3)]
        return ShardedFacens([LocalFacens(name=name) for name in names], names)


@pytest.mark.parametrize("machine", [Storage, InThreads, ThreeShards])
def test_any_order_of_operations_agrees_with_dictionaries(
    machine: type[Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, galleries, counts and searches agree after every step."""
    if machine is InThreads:
        monkeypatch.setattr(local_module, "MIN_THREAD_VALUES", 0)
        monkeypatch.setattr(local_module, "MAX_PICKED", 0)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )
