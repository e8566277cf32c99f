"""What is said when an upload server does not do what it should."""

from collections.abc import Iterator

import httpx
import pytest

from store.errors import PictureRefusedError, UploadError
from store.uploads.webdav import OF_ONE_PICTURE, WebDavUploads
from tests.nginx import PASSWORD, USER, UploadServer, upload_server
from tests.upload_answers import answering_server

KEY = "64b7f0/20260302/17_0123456789ab_photo.jpeg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    with upload_server(tmp_path_factory.mktemp("nginx")) as server:
        yield server


async def test_a_wrong_password_names_its_settings(server: UploadServer) -> None:
    """Not the password, the keys to set it."""
    async with httpx.AsyncClient(auth=(USER, "wrong-one")) as client:
        uploads = WebDavUploads(client, server.url)
        with pytest.raises(
            UploadError, match=r"401 Unauthorized; uploads\.user and uploads\.password"
        ) as caught:
            await uploads.put(KEY, b"picture", "image/jpeg")
    assert "wrong-one" not in str(caught.value)


async def test_a_picture_that_is_too_large_for_the_server_says_what_to_set(server: UploadServer) -> None:
    """nginx takes one megabyte unless told otherwise."""
    async with httpx.AsyncClient(auth=(USER, PASSWORD)) as client:
        uploads = WebDavUploads(client, server.url)
        with pytest.raises(UploadError, match=r"413 .*client_max_body_size"):
            await uploads.put(KEY, bytes(17 * 1024 * 1024), "image/jpeg")


async def test_a_server_without_webdav_is_told_apart(server: UploadServer) -> None:
    """A plain web server shows pictures and takes none."""
    async with httpx.AsyncClient() as client:
        uploads = WebDavUploads(client, server.plain_url)
        with pytest.raises(UploadError, match="it has to speak WebDAV"):
            await uploads.put(KEY, b"picture", "image/jpeg")
        with pytest.raises(UploadError, match="it has to speak WebDAV"):
            await uploads.list_folders()


async def test_a_server_that_is_away_is_an_upload_error(server: UploadServer) -> None:
    """Whatever is asked: nobody listens."""
    server.stop()
    try:
        async with httpx.AsyncClient() as client:
            uploads = WebDavUploads(client, server.url)
            with pytest.raises(UploadError, match="does not answer"):
                await uploads.put(KEY, b"picture", "image/jpeg")
            with pytest.raises(UploadError, match="does not answer"):
                await uploads.missing([KEY])
    finally:
        server.start()


@pytest.mark.parametrize("status", sorted(OF_ONE_PICTURE))
async def test_a_refused_marker_is_the_servers_trouble(status: int) -> None:
    """Only a picture can be refused for itself: without its marker nothing can be stored at a place."""
    with answering_server() as server:
        server.takes_marker = False
        server.answer = lambda path, body: (status, {})
        async with httpx.AsyncClient() as client:
            with pytest.raises(UploadError, match=f": {status} ") as caught:
                await WebDavUploads(client, server.url).claim()
    assert not isinstance(caught.value, PictureRefusedError)
