"""The uploads folder."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import files
from store.errors import UploadError
from store.uploads.folder import FolderUploads
from store.uploads.keys import checked_key
from store.uploads.storage import StoredPicture

KEY = "64b7f0/20260302/17_0123456789ab_photo.jpeg"


def contents(folder: Path) -> list[bytes]:
    """The contents of all files below the folder, temporary ones included."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_stores_under_a_url_known_before(tmp_path: Path) -> None:
    """The URL of a key is the same before and after the upload, and leads back to key and data."""
    uploads = FolderUploads(tmp_path)
    before = uploads.url_of(KEY)
    assert await uploads.get(before) is None
    url = await uploads.put(KEY, b"picture", "image/jpeg")
    assert url == before == (tmp_path / KEY).as_uri()
    assert uploads.key_of(url) == KEY
    assert await uploads.get(url) == b"picture"
    assert await uploads.get(KEY) == b"picture"


async def test_shows_pictures_through_a_web_server(tmp_path: Path) -> None:
    """With a base URL the URLs are those of the web server."""
    uploads = FolderUploads(tmp_path, "https://box.example/pictures/")
    assert uploads.url_of(KEY) == f"https://box.example/pictures/{KEY}"
    assert uploads.key_of(f"https://box.example/pictures/{KEY}") == KEY


async def test_a_second_upload_replaces_the_first(tmp_path: Path) -> None:
    """Uploading to the same key again leaves one file with the new data and nothing else."""
    uploads = FolderUploads(tmp_path)
    await uploads.put(KEY, b"first, and longer", "image/jpeg")
    await uploads.put(KEY, b"second", "image/jpeg")
    assert contents(tmp_path) == [b"second"]


async def test_pictures_are_readable_by_their_user_alone(tmp_path: Path) -> None:
    """Other users of the machine can access neither files nor folders."""
    uploads = FolderUploads(tmp_path / "uploads")
    await uploads.put(KEY, b"picture", "image/jpeg")
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "uploads").rglob("*")}
    assert modes == {0}


async def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up during an upload is an UploadError; the old picture is unchanged."""
    uploads = FolderUploads(tmp_path)
    await uploads.put(KEY, b"old", "image/jpeg")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(UploadError, match="No space left on device"):
        await uploads.put(KEY, b"new", "image/jpeg")
    assert contents(tmp_path) == [b"old"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        ".hidden",
        "a/.x.part",
        "a\\b",
        "a\0b",
        "ä/b",
        "a/" * 600,
    ],
)
async def test_refuses_keys_that_are_not_plain_paths(tmp_path: Path, key: str) -> None:
    """A key that points outside the folder or to a hidden file is refused, and nothing is written."""
    uploads = FolderUploads(tmp_path / "uploads")
    with pytest.raises(ValueError, match="is not a key"):
        await uploads.put(key, b"data", "image/jpeg")
    assert not contents(tmp_path)


@given(st.text(max_size=60))
def test_every_accepted_key_stays_inside(key: str) -> None:
    """Any text is either refused as a key or names a path below the folder."""
    try:
        checked_key(key)
    except ValueError:
        return
    assert Path(os.path.normpath(Path("/uploads") / key)) == Path("/uploads") / key


async def test_an_owners_folder_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    """Pictures behind the link are written, listed, found, measured and removed."""
    uploads = FolderUploads(tmp_path / "uploads")
    await uploads.put("owner/20260301/1_a.jpeg", b"old", "image/jpeg")
    (tmp_path / "uploads" / "owner").rename(tmp_path / "disk")
    (tmp_path / "uploads" / "owner").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "ring").symlink_to(tmp_path / "disk")
    url = await uploads.put("owner/20260302/2_b.jpeg", b"new", "image/jpeg")
    keys = ["owner/20260301/1_a.jpeg", "owner/20260302/2_b.jpeg"]
    assert [key async for key in uploads.list_keys("owner")] == keys
    assert [key async for key in uploads.list_keys()] == keys
    assert [entry async for entry in uploads.entries("owner/20260302")] == [StoredPicture(keys[1], 3)]
    assert await uploads.get(url) == b"new" and await uploads.missing(keys) == []
    assert await uploads.delete(keys[0]) and not (tmp_path / "disk" / "20260301").exists()


async def test_an_unmounted_disk_is_an_upload_error(tmp_path: Path) -> None:
    """A dangling link fails reads and writes with UploadError, and listings show nothing below it."""
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "owner").symlink_to(tmp_path / "not mounted")
    (tmp_path / "uploads" / "loop").symlink_to("loop")
    uploads = FolderUploads(tmp_path / "uploads")
    for owner in ("owner", "loop"):
        with pytest.raises(UploadError):
            await uploads.put(f"{owner}/day/1_a.jpeg", b"x", "image/jpeg")
        with pytest.raises(UploadError):
            await uploads.missing([f"{owner}/day/1_a.jpeg"])
        assert [key async for key in uploads.list_keys(owner)] == []
        assert await uploads.list_folders(owner) == []


async def test_deletes_once_and_clears_empty_folders(tmp_path: Path) -> None:
    """`delete` returns whether the picture existed; the day's folder is removed with its last picture."""
    uploads = FolderUploads(tmp_path / "uploads")
    url = await uploads.put(KEY, b"picture", "image/jpeg")
    assert await uploads.delete(url) is True
    assert await uploads.delete(url) is False
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_ignores_foreign_urls(tmp_path: Path) -> None:
    """URLs outside the folder are neither read nor deleted."""
    uploads = FolderUploads(tmp_path / "uploads")
    (tmp_path / "secret").write_bytes(b"secret")
    for url in (
        "https://elsewhere.example/x.jpeg",
        (tmp_path / "secret").as_uri(),
        (tmp_path / "uploads").as_uri() + "/../secret",
        (tmp_path / "uploads").as_uri() + "/%2e%2e/secret",
    ):
        assert uploads.key_of(url) is None
        assert await uploads.get(url) is None
        assert await uploads.delete(url) is False
    assert (tmp_path / "secret").exists()


async def test_lists_keys_and_folders(tmp_path: Path) -> None:
    """Keys are listed in order, all or below a folder; partial files are skipped."""
    uploads = FolderUploads(tmp_path)
    for key in ("b/20260102/2.png", "a/20260101/1.png", "b/20260101/3.png"):
        await uploads.put(key, b"x", "image/png")
    (tmp_path / "b" / ".4.png.0badcafe.part").write_bytes(b"half")
    assert [key async for key in uploads.list_keys()] == [
        "a/20260101/1.png",
        "b/20260101/3.png",
        "b/20260102/2.png",
    ]
    assert [key async for key in uploads.list_keys("b/20260101")] == ["b/20260101/3.png"]
    assert [key async for key in uploads.list_keys("unknown")] == []
    assert await uploads.list_folders("b") == ["20260101", "20260102"]
    assert await uploads.list_folders("unknown") == []


async def test_removes_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    """Temporary files above the given age are removed; pictures stay."""
    uploads = FolderUploads(tmp_path)
    await uploads.put(KEY, b"picture", "image/jpeg")
    left = (tmp_path / KEY).with_name(".17_x.jpeg.0badcafe.part")
    left.write_bytes(b"half")
    assert await uploads.remove_leftovers(3600) == 0
    os.utime(left, (0, 0))
    assert await uploads.remove_leftovers(3600) == 1
    assert not left.exists()
    assert await uploads.get(KEY) == b"picture"
