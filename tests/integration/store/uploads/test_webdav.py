"""Errors of upload servers: each message says what to change."""

from collections.abc import Iterator

import httpx
import pytest

from store.errors import PictureRefusedError, UploadError
from store.uploads.webdav import PICTURE_STATUSES, WebDavUploads
from tests.nginx import PASSWORD, USER, UploadServer, upload_server
from tests.upload_answers import answering_server

KEY = "64b7f0/20260302/17_0123456789ab_photo.jpeg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    with upload_server(tmp_path_factory.mktemp("nginx")) as server:
        yield server


async def test_a_wrong_password_names_its_settings(server: UploadServer) -> None:
    """The message names the settings and does not contain the password."""
    async with httpx.AsyncClient(auth=(USER, "wrong-one")) as client:
        uploads = WebDavUploads(client, server.url)
        with pytest.raises(
            UploadError, match=r"401 Unauthorized; uploads\.user and uploads\.password"
        ) as caught:
            await uploads.put(KEY, b"picture", "image/jpeg")
    assert "wrong-one" not in str(caught.value)


async def test_a_picture_too_large_for_the_server_names_its_setting(server: UploadServer) -> None:
    """nginx limits request bodies by `client_max_body_size`, which the message names."""
    async with httpx.AsyncClient(auth=(USER, PASSWORD)) as client:
        uploads = WebDavUploads(client, server.url)
        with pytest.raises(UploadError, match=r"413 .*client_max_body_size"):
            await uploads.put(KEY, bytes(17 * 1024 * 1024), "image/jpeg")


async def test_a_server_without_webdav_is_reported(server: UploadServer) -> None:
    """A plain web server accepts no PUT; the message says that WebDAV is needed."""
    async with httpx.AsyncClient() as client:
        uploads = WebDavUploads(client, server.plain_url)
        with pytest.raises(UploadError, match="it has to speak WebDAV"):
            await uploads.put(KEY, b"picture", "image/jpeg")
        with pytest.raises(UploadError, match="it has to speak WebDAV"):
            await uploads.list_folders()


async def test_an_unreachable_server_is_an_upload_error(server: UploadServer) -> None:
    """Every call raises UploadError."""
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


@pytest.mark.parametrize("status", sorted(PICTURE_STATUSES))
async def test_a_refused_marker_is_a_fault_of_the_server(status: int) -> None:
    """A status that refuses one picture concerns the whole server if it is for the marker file."""
    with answering_server() as server:
        server.takes_marker = False
        server.answer = lambda path, body: (status, {})
        async with httpx.AsyncClient() as client:
            with pytest.raises(UploadError, match=f": {status} ") as caught:
                await WebDavUploads(client, server.url).claim()
    assert not isinstance(caught.value, PictureRefusedError)


async def test_every_status_without_further_headers_is_an_upload_error() -> None:
    """A redirect may lack its target, as 304 does."""
    with answering_server() as server:
        async with httpx.AsyncClient() as client:
            uploads = WebDavUploads(client, server.url)
            for status in (*range(300, 312), 399, 418, 499, 520, 599):
                server.answer = lambda path, body, status=status: (status, {})  # type: ignore[misc]  bound here
                with pytest.raises(UploadError, match=f": {status} "):
                    await uploads.put(KEY, b"picture", "image/jpeg")
