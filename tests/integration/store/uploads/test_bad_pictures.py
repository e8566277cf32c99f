"""Invalid pictures and foreign URLs: one documented error, and no file is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.types import Rectangle
from store import (
    AuthenticationError,
    BadValueError,
    Context,
    Image,
    ImageError,
    User,
)
from store.identity.enrolment import Enrolment
from store.identity.enrolment_examination import EnrolmentSettings
from store.identity.enrolment_folder import pictures_in
from tests.facens import face, person_facen
from tests.mongo import StoreArguments
from tests.sightings import photo
from tests.store_checks import files_below


async def test_pictures_go_only_to_the_owners_folder(ctx: Context, store_settings: StoreArguments) -> None:
    """A URL of another user's picture is refused or replaced; inactive users cannot upload."""
    uploads = store_settings.data_dir / "uploads"
    one, other = await ctx.users.add({}), await ctx.users.add({})
    theirs = await ctx.faces.add(other, face(person_facen(1)))
    await ctx.faces.upload(theirs, Image(photo()))
    before = {path: path.read_bytes() for path in files_below(uploads)}
    mine = await ctx.faces.add(one, face(person_facen(2)))
    with pytest.raises(BadValueError, match="belongs to another user"):
        await ctx.faces.upload_thumbnail(mine, Image(photo(9)), url=theirs["thumbnail"])
    mine["photo"] = theirs["photo"]
    await ctx.faces.upload(mine, Image(photo(9)))
    assert {path: path.read_bytes() for path in before} == before
    assert mine["photo"] != theirs["photo"]
    await ctx.users.update_one({"_id": one["_id"]}, {"$set": {"active": False}})
    for upload in (ctx.faces.upload, ctx.faces.upload_thumbnail):
        with pytest.raises(AuthenticationError):
            await upload(mine, Image(photo()))


@pytest.mark.parametrize(
    "picture", [b"", b"GIF89a", b"\0" * 5000, photo()[:200], np.zeros((0, 3, 3), np.uint8)]
)
async def test_an_invalid_picture_is_not_uploaded(
    ctx: Context, store_settings: StoreArguments, user: User, picture: Any
) -> None:
    """Empty, truncated and other invalid data is an ImageError, and none of the three files is written."""
    made = face(person_facen(1))
    made["bbox"] = Rectangle(10, 10, 50, 50)
    await ctx.faces.add(user, made)
    for upload in (ctx.faces.upload, ctx.faces.upload_thumbnail):
        with pytest.raises(ImageError):
            await upload(made, Image(picture))
        with pytest.raises(ImageError, match=r"store\.Image"):
            await upload(made, picture)
        with pytest.raises(BadValueError, match="mapping"):
            await upload(None, Image(photo()))  # type: ignore[arg-type]  # wrong on purpose
    assert files_below(store_settings.data_dir / "uploads") == set()


async def test_enrolment_refuses_names_with_control_characters(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """Names of files and of persons' folders; the other pictures are not affected."""
    folder = tmp_path / "people"
    (folder / "An\x1bn").mkdir(parents=True)
    for name in ("a\nb.png", "An\x1bn/1.png", "plain.png"):
        (folder / name).touch()
    enrolment = Enrolment(ctx, user, EnrolmentSettings("staff", "opencv-zoo", 0.8))
    outcomes = {one.label: one async for one in enrolment.run(pictures_in(folder).pictures)}
    assert {one.result for one in outcomes.values()} == {"refused"}
    assert "control characters" in outcomes["a\nb.png"].reason
    assert "control characters" in outcomes["An\x1bn/1.png"].reason
    assert "control characters" not in outcomes["plain.png"].reason
    assert await ctx.persons.count(user, None) == 0
