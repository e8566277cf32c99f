"""`facend facens`: looking at the storage, making it anew, changing the model pack."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.runtime import data_folder
from pipeline.faces.facen import decode
from store import Context, PackError, User
from store.facens.pack import set_pack, stored_pack
from store.upkeep.reembedding import Reembedding
from store.uploads.image import Image
from tests.daemon_process import write_settings
from tests.facens import person_facen, stored
from tests.faces import default_models, models_dir
from tests.integration.daemon.cli.test_store import Box
from tests.mongo import StoreArguments
from tests.sightings import normalized, photo


@pytest.fixture
def box(store_settings: StoreArguments, tmp_path: Path) -> Box:
    settings = store_settings.settings
    store = {"url": settings.url.get_secret_value(), "database": settings.database}
    path = write_settings(tmp_path, [], store=store, models={"folder": str(models_dir())})
    box = Box(store_settings, path)
    box.make_own_user()
    assert box.json("facens", "stats")["galleries"] == []
    return box


def three_faces(box: Box) -> None:
    async def work(ctx: Context, user: User) -> None:
        for number in range(3):
            await stored(ctx, user, person_facen(number), ["a", "b"])

    box.store(work)


def test_rebuild_writes_a_snapshot_that_stats_shows(box: Box) -> None:
    """Proven equal to MongoDB; the figures are there for people and as JSON."""
    three_faces(box)
    told = {"galleries": 2, "entries": 6, "sampled": 6, "unusable": 0, "corrected": 0}
    assert box.json("facens", "rebuild") == told
    told = box.json("facens", "stats")
    assert (told["engine"], told["pack"], told["pack_in_settings"]) == ("local", "opencv-zoo", "opencv-zoo")
    assert [(row["gallery"], row["faces"]) for row in told["galleries"]] == [("a", 3), ("b", 3)]
    (snapshot,) = told["snapshots"]
    assert (snapshot["file"], snapshot["galleries"], snapshot["facens"]) == ("local.facens", 2, 6)
    assert "local.facens" in box.text("facens", "stats")
    (box.data_dir / "facens" / "local.facens").write_bytes(b"no snapshot")
    assert "not a snapshot" in box.json("facens", "stats")["snapshots"][0]["trouble"]
    assert box.json("facens", "rebuild")["entries"] == 6


def test_what_cannot_be_done_is_one_line(box: Box) -> None:
    """A daemon that runs, a URL that is none, the place where the facens are already."""
    with data_folder.held(box.data_dir):
        assert "a daemon runs" in box.error("facens", "rebuild")  # and this one has no port
        assert "the daemon is running" in box.error("facens", "re-embed")
    assert "expected milvus://" in box.error("facens", "migrate", "--to", "ftp://nowhere")
    assert "the facens are stored there already" in box.error("facens", "migrate", "--to", "local")


async def test_facens_are_made_anew_from_the_stored_pictures(store_settings: StoreArguments) -> None:
    """An interrupted run resumes; a face without a picture is skipped; meanwhile no store can be opened."""
    models = default_models()
    async with store_settings.open(facen_size=512, pack="old pack") as ctx:
        user = await ctx.users.add({})
        faces = []
        for number in range(20):
            made = await stored(ctx, user, person_facen(number, 512), ["a"])
            made.normalized = normalized(number)
            await ctx.faces.upload(made, Image(photo()))
            faces.append(made)
        await ctx.uploads.delete(faces[3]["normalized"])
    async with store_settings.open(load_facens=False) as ctx:
        again = Reembedding(ctx.database, ctx.uploads, models.embedder, "opencv-zoo")
        assert await again.left() == 20
        with pytest.raises(BrokenOffError):
            await again.run(break_off)
        assert await again.left() == 4
    for pack, size in (("old pack", 512), ("opencv-zoo", 128)):
        with pytest.raises(PackError, match="complete `facend facens re-embed`"):
            async with store_settings.open(facen_size=size, pack=pack):
                pass
    async with store_settings.open(load_facens=False) as ctx:
        again = Reembedding(ctx.database, ctx.uploads, models.embedder, "opencv-zoo")
        done = await again.run()
        assert (done.done, await again.left()) == (4, 0)
    async with store_settings.open(facen_size=128, pack="opencv-zoo") as ctx:
        assert await ctx.facens.count(user["_id"], "a") == 19
        for number in (0, 1, 19):
            found = await ctx.faces.find_one(user, {"_id": faces[number]["_id"]})
            assert found is not None
            picture = cv2.imdecode(np.frombuffer(normalized(number), np.uint8), cv2.IMREAD_COLOR)
            (expected,) = models.embedder.embed([picture])
            assert decode(found["facen"]) == pytest.approx(expected, abs=1e-4)
        lost = await ctx.faces.find_one(user, {"_id": faces[3]["_id"]})
        assert lost is not None
        assert (lost.galleries, lost["detector_info"]["pack"]) == ([], "old pack")


def test_the_command_makes_facens_anew(box: Box) -> None:
    """Of faces whose pictures are gone it says how many; the daemon can start with the new pack then."""
    three_faces(box)

    async def pretend(ctx: Context, user: User) -> None:
        await set_pack(ctx.database, "old pack", 128)

    async def held(ctx: Context, user: User) -> object:
        return await stored_pack(ctx.database)

    box.store(pretend)
    assert "old pack" in box.error("facens", "rebuild")
    assert box.json("facens", "re-embed") == {"done": 0, "without_picture": 3}
    assert box.store(held).name == "opencv-zoo"
    assert box.json("facens", "rebuild")["entries"] == 0


class BrokenOffError(Exception):
    """The run was interrupted."""


def break_off(_: int) -> None:
    raise BrokenOffError
