"""Faces with pictures, with a real MongoDB and a real folder."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bson import ObjectId

from pipeline.faces.facen import encode
from pipeline.types import ExtractionFace, Rectangle
from store.collections.server_faces import ServerFaces
from store.collections.users import User
from store.context import Context
from store.errors import BadValueError, ImageError, UploadError
from store.face import Face
from store.settings import RetentionSettings
from store.upkeep.retention import Retention
from store.uploads.face_pictures import PICTURES
from store.uploads.image import Image
from tests.mongo import StoreArguments
from tests.sightings import normalized, person_facen, photo
from tests.store_checks import assert_pictures_open, block, files_below, picture_path, unblock

BBOX = Rectangle(-10.0, 20.0, 70.0, 110.0)


def extraction_face() -> ExtractionFace:
    return ExtractionFace(
        bbox=BBOX,
        normalized=normalized(),
        score=-0.1,
        photo_hash=Image(photo()).md5,
        facen=encode(person_facen(1)),
    )


def test_a_key_names_owner_day_and_face() -> None:
    """A key is `<owner>/<YYYYMMDD>/<id>_<12 hex><suffix>`, different for each call."""
    owner = ObjectId()
    face = {"owner": owner, "_id": 17}
    today = {f"{datetime.now(UTC):%Y%m%d}" for _ in range(2)}
    key = ServerFaces.gen_ffupload_key(face, suffix="_norm.png")
    assert (found := re.fullmatch(rf"{owner}/(\d{{8}})/17_[0-9a-f]{{12}}_norm\.png", key))
    assert found[1] in today | {f"{datetime.now(UTC):%Y%m%d}"}
    assert ServerFaces.gen_ffupload_key(face).endswith(".jpeg")
    assert ServerFaces.gen_ffupload_key(face) != ServerFaces.gen_ffupload_key(face)
    assert face == {"owner": owner, "_id": 17}


@pytest.mark.parametrize("face", [{}, {"_id": 17}, {"owner": ObjectId()}, {"owner": "../..", "_id": 17}])
def test_a_key_needs_owner_and_id(face: dict[str, object]) -> None:
    """Without an owner or id there is not a key; text as owner cannot contain a path."""
    with pytest.raises(BadValueError, match=r"Faces\.add"):
        ServerFaces.gen_ffupload_key(face)


async def test_gen_ffupload_key_sets_new_links(ctx: Context, user: User) -> None:
    """A face object and a dictionary get links to this context's uploads, different for each call."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    for given in (face, dict(face), {"owner": user["_id"], "_id": 17}):
        start = f"{user['_id']}/{datetime.now(UTC):%Y%m%d}/{given.get('_id', given.get('id'))}_"
        seen = set()
        for suffix in (".jpeg", *PICTURES.values()):
            key = ctx.faces.gen_ffupload_key(given, suffix)
            assert re.fullmatch(rf"{start}[0-9a-f]{{12}}{re.escape(suffix)}", key)
            for field, end in PICTURES.items():
                linked = ctx.uploads.key_of(given[field])
                assert linked is not None and re.fullmatch(rf"{start}[0-9a-f]{{12}}{end}", linked)
                assert (linked == key) is (end == suffix)
                seen.add(linked)
        assert len(seen) == 12


@pytest.mark.parametrize(
    "kind", [lambda face: face, dict, lambda face: {**extraction_face(), **face.fields()}]
)
async def test_an_upload_uses_the_links_of_the_key(
    ctx: Context, user: User, uploads: Path, kind: Callable[[Face], Any]
) -> None:
    """The pictures are stored under the links of `gen_ffupload_key`, and the document has them."""
    stored = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    face = kind(stored)
    face["normalized"] = normalized()
    ctx.faces.gen_ffupload_key(face)
    links = {field: face[field] for field in PICTURES}
    await ctx.faces.upload(face, Image(photo()))
    assert {field: face[field] for field in PICTURES} == links
    assert files_below(uploads) == {picture_path(url) for url in links.values()}
    found = await ctx.faces.find_one(user, {"_id": stored["_id"]})
    assert found is not None and found.urls == links
    assert picture_path(links["normalized"]).read_bytes() == normalized()


async def test_the_aligned_face_is_bytes_until_it_is_uploaded(ctx: Context, user: User) -> None:
    """`face["normalized"]` is the PNG also after `add`, and the URL after `upload`."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    assert face["normalized"] == normalized()
    found = await ctx.faces.find_one(user, {"_id": face["_id"]})
    assert found is not None and found == face
    await ctx.faces.upload(face, Image(photo()))
    assert face["normalized"] == found["normalized"]
    assert picture_path(face["normalized"]).read_bytes() == normalized()
    found["normalized"] = normalized()
    await ctx.faces.upload(found, Image(photo()))
    assert found["normalized"] == face["normalized"]


async def test_an_extraction_face_is_uploaded(ctx: Context, user: User, uploads: Path) -> None:
    """It gets links to temporary pictures; added as a face, it gets other pictures."""
    eface = dict(extraction_face())
    await ctx.faces.upload(eface, Image(photo()))
    links = {field: eface[field] for field in PICTURES}
    assert files_below(uploads) == {picture_path(str(url)) for url in links.values()}
    assert await ctx.uploads.get(str(eface["normalized"])) == normalized()
    await ctx.faces.upload_thumbnail(eface, Image(photo()))
    assert {field: eface[field] for field in PICTURES} == links
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(eface))
    await ctx.faces.upload(face, Image(photo()))
    assert not set(links.values()) & set(face.urls.values())
    assert await ctx.uploads.get(face["normalized"]) == normalized()
    theirs = ctx.uploads.url_of(f"{user['_id']}/20260101/1_00_thumb.jpeg")
    with pytest.raises(BadValueError, match="belongs to another user"):
        await ctx.faces.upload_thumbnail(eface, Image(photo()), url=theirs)


async def test_pictures_of_extraction_faces_are_removed_after_a_day(
    ctx: Context, user: User, uploads: Path
) -> None:
    """Retention removes them without further settings; those of today are kept."""
    eface = dict(extraction_face())
    await ctx.faces.upload(eface, Image(photo()))
    retention = Retention(ctx, user, RetentionSettings())
    await retention.run()
    assert len(files_below(uploads)) == 3
    removed = await retention.run(datetime.now(UTC) + timedelta(days=2))
    assert removed.pictures == 3
    assert files_below(uploads) == set()


async def test_regenerate_id_needs_no_await(ctx: Context, user: User) -> None:
    """The id and the links are set when it returns; it may be awaited."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    before = face.document()
    ctx.faces.regenerate_id(face)
    assert face["_id"] > before["_id"]
    assert all(f"/{face['_id']}_" in url for url in face.urls.values())
    first = face["_id"]
    await ctx.faces.regenerate_id(face)
    assert face["_id"] > first


async def test_a_face_from_a_picture_gets_its_three_pictures(ctx: Context, user: User, uploads: Path) -> None:
    """Extract, add, upload: the stored document names three valid pictures."""
    face = ctx.faces.Model.from_extraction_face(extraction_face())
    face = await ctx.faces.add(user, face)
    await ctx.faces.upload(face, Image(photo()))
    stored = await ctx.faces.find_one(user, {"_id": face["_id"]})
    assert stored is not None
    assert {field: stored[field] for field in PICTURES} == {field: face[field] for field in PICTURES}
    assert files_below(uploads) == assert_pictures_open(stored, uploads)
    assert picture_path(stored["photo"]).read_bytes() == photo()
    assert picture_path(stored["normalized"]).read_bytes() == normalized()
    thumbnail = cv2.imdecode(np.fromfile(picture_path(stored["thumbnail"]), np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail.shape == (90, 70, 3)


async def test_uploading_again_replaces_the_pictures(ctx: Context, user: User, uploads: Path) -> None:
    """A second upload writes the same three files."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    await ctx.faces.upload(face, Image(photo()))
    before = files_below(uploads)
    await ctx.faces.upload(face, Image(photo(200)))
    assert files_below(uploads) == before
    assert picture_path(face["photo"]).read_bytes() == photo(200)


async def test_a_face_without_urls_gets_them_in_its_document(ctx: Context, user: User, uploads: Path) -> None:
    """A face stored with its own id has no URLs; an upload creates and stores them."""
    face = ctx.faces.Model.from_extraction_face(extraction_face())
    face["_id"] = 4711
    await ctx.faces.add(user, face)
    assert "photo" not in face
    await ctx.faces.upload(face, Image(photo()))
    stored = await ctx.faces.find_one(user, {"_id": 4711})
    assert stored is not None
    assert files_below(uploads) == assert_pictures_open(stored, uploads)


async def test_a_dictionary_can_be_uploaded(ctx: Context, user: User, uploads: Path) -> None:
    """Face data with owner and id gets its URLs."""
    data = {**extraction_face(), "owner": user["_id"], "_id": 5}
    await ctx.faces.upload(data, Image(photo()))
    assert len(files_below(uploads)) == 3
    assert picture_path(str(data["thumbnail"])).exists()


async def test_regenerate_id_sets_new_urls(ctx: Context, user: User) -> None:
    """URLs contain the id; URLs outside the uploads are kept."""
    face = ctx.faces.wrap_in_model({"owner": user["_id"], "photo": "https://elsewhere.example/p.jpeg"})
    await ctx.faces.regenerate_id(face)
    first = dict(face)
    await ctx.faces.regenerate_id(face)
    assert face["_id"] > first["id"]
    for field in ("normalized", "thumbnail"):
        assert str(face["_id"]) in face[field]
        assert face[field] != first[field]
    assert face["photo"] == "https://elsewhere.example/p.jpeg"


async def test_a_thumbnail_can_have_another_url(ctx: Context, user: User, uploads: Path) -> None:
    """`upload_thumbnail` writes to the face's URL, or to the given one, which must be in the uploads."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    await ctx.faces.upload_thumbnail(face, Image(photo()))
    other = ctx.uploads.url_of(ServerFaces.gen_ffupload_key(face, "_other.jpeg"))
    await ctx.faces.upload_thumbnail(face, Image(photo()), url=other)
    assert files_below(uploads) == {picture_path(face["thumbnail"]), picture_path(other)}
    for foreign in ("https://elsewhere.example/x.jpeg", (uploads.parent / "x.jpeg").as_uri()):
        with pytest.raises(BadValueError, match="not a URL of these uploads"):
            await ctx.faces.upload_thumbnail(face, Image(photo()), url=foreign)


async def test_refuses_a_face_that_cannot_have_pictures(ctx: Context, user: User, uploads: Path) -> None:
    """Without an aligned face, an id, a bbox inside or a valid picture nothing is written."""
    stored = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    from_store = await ctx.faces.find_one(user, {"_id": stored["_id"]})
    assert from_store is not None
    outside = Face(stored) | {"bbox": Rectangle(900, 900, 950, 950)}
    outside.normalized = normalized()
    cases = [
        (from_store, photo(), "PNG"),
        ({**extraction_face(), "owner": user["_id"]}, photo(), "Faces.add"),
        (ctx.faces.Model.from_extraction_face(extraction_face()), photo(), "Faces.add"),
        (outside, photo(), "outside"),
        (stored, b"no picture", "not a picture"),
    ]
    for face, picture, message in cases:
        with pytest.raises((BadValueError, ImageError), match=message):
            await ctx.faces.upload(face, Image(picture))
    assert files_below(uploads) == set()


async def test_an_unusable_folder_is_an_upload_error(ctx: Context, user: User, uploads: Path) -> None:
    """If the uploads folder cannot be created, the error names the path and the remedy; later it works."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    block(uploads)
    with pytest.raises(UploadError, match=r"cannot write .*uploads.*make room"):
        await ctx.faces.upload(face, Image(photo()))
    unblock(uploads)
    await ctx.faces.upload(face, Image(photo()))
    assert len(files_below(uploads)) == 3


async def test_refuses_a_picture_with_too_many_pixels(store_settings: StoreArguments) -> None:
    """The store's limit applies to pictures of plugins: nothing is written, no link is set."""
    height, width = Image(photo()).pixels.shape[:2]
    async with store_settings.open(max_pixels=height * width - 1) as ctx:
        user = await ctx.users.add({})
        face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
        decoded = Image(photo())
        assert decoded.pixels.size
        for picture in (Image(photo()), decoded):
            with pytest.raises(ImageError, match="the limit is"):
                await ctx.faces.upload(face, picture)
            with pytest.raises(ImageError, match="the limit is"):
                await ctx.faces.upload_thumbnail(face, picture)
        assert files_below(store_settings.data_dir / "uploads") == set()
