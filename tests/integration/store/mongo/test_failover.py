"""Failover of a replica set."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from store import Context, StoreSettings
from tests.facens import face, person_facen
from tests.replica_set import ReplicaSet


@pytest.fixture
def replica_set() -> Iterator[ReplicaSet]:
    servers = ReplicaSet()
    yield servers
    servers.stop()


async def test_a_stream_of_faces_survives_the_death_of_the_primary(
    replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """Additions continue after the failover; every acknowledged face is stored exactly once."""
    settings = StoreSettings(url=SecretStr(replica_set.url), server_selection_timeout_seconds=30)
    async with Context.open(settings, data_dir=tmp_path) as ctx:
        user = await ctx.users.add({})
        acknowledged: list[int] = []
        enough = asyncio.Event()

        async def stream(first: int) -> None:
            for number in range(first, first + 150):
                made = await ctx.faces.add(user, face(person_facen(number), meta=str(number)))
                acknowledged.append(made["_id"])
                if len(acknowledged) == 100:
                    enough.set()

        streams = asyncio.gather(*(stream(first) for first in range(0, 600, 150)))
        await enough.wait()
        await asyncio.to_thread(replica_set.kill_primary)
        before = len(acknowledged)
        assert before < 500
        await asyncio.wait_for(streams, 120)
        found = await ctx.faces.find(user, None)
        assert {one["_id"] for one in found} == set(acknowledged)
        assert sorted(int(one["meta"]) for one in found) == list(range(600))
