"""Faces with pictures, on a real MongoDB and a real folder."""

import re
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from bson import ObjectId

from pipeline.facen import encode
from pipeline.types import ExtractionFace, Rectangle
from store.context import Context
from store.errors import BadValueError, ImageError, UploadError
from store.face import Face
from store.image import Image
from store.server_faces import PICTURES, ServerFaces
from store.users import User
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
    """A key is `<owner>/<YYYYMMDD>/<id>_<12 hex><suffix>`, another one at every call, and only returned."""
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
    """Without an owner or an id there is no key; a text as owner cannot smuggle a path in."""
    with pytest.raises(BadValueError, match=r"Faces\.add"):
        ServerFaces.gen_ffupload_key(face)


async def test_a_face_from_a_picture_gets_its_three_pictures(ctx: Context, user: User, uploads: Path) -> None:
    """Extract, add, upload: the stored document names three pictures, which are what they should be."""
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
    """A second upload lands on the same three files."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    await ctx.faces.upload(face, Image(photo()))
    before = files_below(uploads)
    await ctx.faces.upload(face, Image(photo(200)))
    assert files_below(uploads) == before
    assert picture_path(face["photo"]).read_bytes() == photo(200)


async def test_a_face_without_urls_gets_them_in_its_document(ctx: Context, user: User, uploads: Path) -> None:
    """A face that was stored under its own id has no URLs; uploading gives it some, and stores them."""
    face = ctx.faces.Model.from_extraction_face(extraction_face())
    face["_id"] = 4711
    await ctx.faces.add(user, face)
    assert "photo" not in face
    await ctx.faces.upload(face, Image(photo()))
    stored = await ctx.faces.find_one(user, {"_id": 4711})
    assert stored is not None
    assert files_below(uploads) == assert_pictures_open(stored, uploads)


async def test_a_plain_dictionary_will_do(ctx: Context, user: User, uploads: Path) -> None:
    """Face data with owner and id, as a dictionary, is uploaded and gets its URLs."""
    data = {**extraction_face(), "owner": user["_id"], "_id": 5}
    await ctx.faces.upload(data, Image(photo()))
    assert len(files_below(uploads)) == 3
    assert picture_path(str(data["thumbnail"])).exists()


async def test_a_new_id_brings_new_urls(ctx: Context, user: User) -> None:
    """Replacing a face's id replaces its URLs, which contain it; a URL that leads elsewhere stays."""
    face = ctx.faces.wrap_in_model({"owner": user["_id"], "photo": "https://elsewhere.example/p.jpeg"})
    await ctx.faces.regenerate_id(face)
    first = dict(face)
    await ctx.faces.regenerate_id(face)
    assert face["_id"] > first["id"]
    for field in ("normalized", "thumbnail"):
        assert str(face["_id"]) in face[field]
        assert face[field] != first[field]
    assert face["photo"] == "https://elsewhere.example/p.jpeg"


async def test_a_thumbnail_can_go_to_a_url_of_its_own(ctx: Context, user: User, uploads: Path) -> None:
    """`upload_thumbnail` writes to the face's URL, or to the given one, which has to be ours."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    await ctx.faces.upload_thumbnail(face, Image(photo()))
    other = ctx.uploads.url_of(ctx.faces.gen_ffupload_key(face, "_other.jpeg"))
    await ctx.faces.upload_thumbnail(face, Image(photo()), url=other)
    assert files_below(uploads) == {picture_path(face["thumbnail"]), picture_path(other)}
    for foreign in ("https://elsewhere.example/x.jpeg", (uploads.parent / "x.jpeg").as_uri()):
        with pytest.raises(BadValueError, match="no URL of these uploads"):
            await ctx.faces.upload_thumbnail(face, Image(photo()), url=foreign)


async def test_refuses_a_face_that_cannot_have_pictures(ctx: Context, user: User, uploads: Path) -> None:
    """Without an aligned face, an id, a bbox inside or a real picture nothing at all is written."""
    stored = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    from_store = await ctx.faces.find_one(user, {"_id": stored["_id"]})
    assert from_store is not None
    outside = Face(stored) | {"bbox": Rectangle(900, 900, 950, 950)}
    outside.normalized = normalized()
    cases = [
        (from_store, photo(), "PNG"),
        (dict(extraction_face()), photo(), "Faces.add"),
        (outside, photo(), "outside"),
        (stored, b"no picture", "no picture"),
    ]
    for face, picture, message in cases:
        with pytest.raises((BadValueError, ImageError), match=message):
            await ctx.faces.upload(face, Image(picture))
    assert files_below(uploads) == set()


async def test_an_unusable_folder_is_an_upload_error(ctx: Context, user: User, uploads: Path) -> None:
    """Where the uploads folder cannot be made the error names the path and what to do; later it works."""
    face = await ctx.faces.add(user, ctx.faces.Model.from_extraction_face(extraction_face()))
    block(uploads)
    with pytest.raises(UploadError, match=r"cannot write .*uploads.*make room"):
        await ctx.faces.upload(face, Image(photo()))
    unblock(uploads)
    await ctx.faces.upload(face, Image(photo()))
    assert len(files_below(uploads)) == 3


async def test_a_picture_over_the_limit_of_pixels_is_not_taken(store_settings: StoreArguments) -> None:
    """The limit is the store's, whatever picture a plugin hands over: nothing is written, no link is set."""
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
