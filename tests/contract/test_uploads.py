"""The contract of `Uploads`: a folder, and WebDAV servers that do or do not create folders themselves."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from store.uploads.folder import FolderUploads
from store.uploads.storage import StoredPicture, Uploads
from store.uploads.webdav import WebDavUploads
from tests.nginx import PASSWORD, USER, UploadServer, upload_server

FOREIGN = ("lost+found", "@eaDir", ".trash", "Übersicht", "a b", "x" * 201)
"""Names that other programs and people give to files and folders."""
OWNER = "64b7f0a1b2c3d4e5f6a7b8c9"
PHOTO = f"{OWNER}/20260302/17_0123456789ab_photo.jpeg"
THUMBNAIL = f"{OWNER}/20260302/17_0123456789ab_thumb.jpeg"
LATER = f"{OWNER}/20260303/18_0123456789ab_photo.jpeg"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, UploadServer]]:
    with (
        upload_server(tmp_path_factory.mktemp("makes")) as makes,
        upload_server(tmp_path_factory.mktemp("wants"), make_folders=False) as wants,
    ):
        yield {"server": makes, "strict server": wants}


@pytest.fixture(params=["folder", "server", "strict server"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder that holds the pictures of this test on the disk."""
    if kind == "folder":
        return tmp_path
    # Each test has its own folder on the server, with characters that URLs escape.
    folder: Path = request.getfixturevalue("servers")[kind].root / f"{tmp_path.name} ü"
    folder.mkdir()
    return folder


@pytest.fixture
async def uploads(kind: str, root: Path, request: pytest.FixtureRequest) -> AsyncIterator[Uploads]:
    if kind == "folder":
        yield FolderUploads(root)
        return
    async with httpx.AsyncClient(auth=(USER, PASSWORD)) as client:
        yield WebDavUploads(client, request.getfixturevalue("servers")[kind].url + quote(root.name))


async def test_gets_what_was_put_by_key_and_url(uploads: Uploads) -> None:
    """The URL is known before the upload and maps back to the key; a second upload replaces the first."""
    before = uploads.url_of(PHOTO)
    assert await uploads.get(PHOTO) is None
    assert await uploads.put(PHOTO, b"first, and longer", "image/jpeg") == before
    assert await uploads.put(PHOTO, b"second", "image/jpeg") == before
    assert uploads.key_of(before) == PHOTO
    assert await uploads.get(PHOTO) == await uploads.get(before) == b"second"


async def test_delete_returns_whether_the_picture_existed(uploads: Uploads) -> None:
    """By key or URL; foreign URLs are ignored."""
    await uploads.put(PHOTO, b"picture", "image/jpeg")
    assert not await uploads.delete("https://elsewhere.example/picture.jpeg")
    assert await uploads.delete(uploads.url_of(PHOTO))
    assert not await uploads.delete(PHOTO)
    assert await uploads.get(PHOTO) is None


async def test_lists_keys_sizes_and_folders_in_order(uploads: Uploads) -> None:
    """All, or those below a folder; nothing for a folder that does not exist."""
    assert [key async for key in uploads.list_keys(OWNER)] == []
    assert await uploads.list_folders(OWNER) == []
    for key in (LATER, THUMBNAIL, PHOTO):
        await uploads.put(key, key.encode(), "image/jpeg")
    assert [key async for key in uploads.list_keys()] == [PHOTO, THUMBNAIL, LATER]
    assert [key async for key in uploads.list_keys(f"{OWNER}/20260302")] == [PHOTO, THUMBNAIL]
    assert await uploads.list_folders() == [OWNER]
    assert await uploads.list_folders(OWNER) == ["20260302", "20260303"]
    sizes = {entry.key: entry.size async for entry in uploads.entries(OWNER)}
    assert sizes == {key: len(key) for key in (PHOTO, THUMBNAIL, LATER)}


@pytest.mark.parametrize("name", FOREIGN)
async def test_foreign_names_are_skipped(uploads: Uploads, root: Path, name: str) -> None:
    """Foreign files and folders are neither listed nor entered, at any level."""
    await uploads.put(PHOTO, b"picture", "image/jpeg")
    for folder in (root, root / OWNER, root / OWNER / "20260302"):
        (folder / name).mkdir()
        (folder / name / "17_0123456789ab_photo.jpeg").write_bytes(b"foreign")
        (folder / f"{name}.jpeg").write_bytes(b"foreign")
    assert [key async for key in uploads.list_keys()] == [PHOTO]
    assert [entry.key async for entry in uploads.entries()] == [PHOTO]
    assert await uploads.list_folders() == [OWNER]
    assert await uploads.list_folders(OWNER) == ["20260302"]
    assert await uploads.remove_leftovers(0) == 0


@pytest.mark.parametrize(("name", "depth"), [("x" * 199, 6), ("d", 600)])
async def test_skips_paths_longer_than_a_key(uploads: Uploads, root: Path, name: str, depth: int) -> None:
    """Deeply nested folders do not stop a listing; paths within the maximum length are listed."""
    folder = root
    for _ in range(depth):
        folder /= name
        folder.mkdir()
    (folder / "deep.jpeg").write_bytes(b"foreign")
    (root / name / "near.jpeg").write_bytes(b"x")
    assert [key async for key in uploads.list_keys()] == [f"{name}/near.jpeg"]
    assert [entry async for entry in uploads.entries()] == [StoredPicture(f"{name}/near.jpeg", 1)]
    assert await uploads.list_folders() == [name]
    assert await uploads.remove_leftovers(0) == 0


async def test_missing_returns_keys_and_urls_without_data(uploads: Uploads) -> None:
    """Foreign URLs count as present."""
    await uploads.put(PHOTO, b"picture", "image/jpeg")
    names = [PHOTO, THUMBNAIL, uploads.url_of(LATER), uploads.url_of(PHOTO), "https://elsewhere.example/x"]
    assert await uploads.missing(names) == [THUMBNAIL, uploads.url_of(LATER)]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a//b", "a/../b", "", "a b", ".hidden", "a/%2e%2e/b"])
async def test_refuses_invalid_keys(uploads: Uploads, key: str) -> None:
    """Every call accepts only relative paths of plain names."""
    with pytest.raises(ValueError, match="is not a key"):
        await uploads.put(key, b"", "image/jpeg")
    with pytest.raises(ValueError, match="is not a key"):
        await uploads.get(key)
    with pytest.raises(ValueError, match="is not a key"):
        await uploads.delete(key)
    assert uploads.key_of(uploads.url_of(PHOTO).replace(OWNER, "..%2f..")) is None
