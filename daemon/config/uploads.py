"""Opens the uploads of the settings: a folder or an upload server."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.config.settings import Settings, UploadsSettings
from daemon.errors import SettingsError
from pipeline.base.tls import ca_file, client_context
from store.uploads.folder import FolderUploads
from store.uploads.storage import Uploads

MAX_CONNECTIONS = 8


@asynccontextmanager
async def open_uploads(settings: Settings) -> AsyncIterator[Uploads]:
    """The uploads of the settings, open until the end of the block.

    Raises:
        SettingsError: the CA certificates file cannot be used.
    """
    wanted = settings.uploads
    if settings.pictures_folder is not None:
        yield FolderUploads(settings.pictures_folder, wanted.base_url)
        return
    import httpx  # most boxes use a folder; commands start faster without it

    from store.uploads.webdav import WebDavUploads

    login = (wanted.user, wanted.password.get_secret_value()) if wanted.user else None
    async with httpx.AsyncClient(
        auth=login,
        timeout=wanted.timeout_seconds,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        verify=_verify(wanted),
    ) as client:
        yield WebDavUploads(client, wanted.url, wanted.base_url)


def _verify(wanted: UploadsSettings) -> ssl.SSLContext | bool:
    if not wanted.url.startswith("https://"):
        return True
    try:
        return client_context(wanted.tls_verify)
    except OSError as error:
        problem = f"the CA certificates file {ca_file(wanted.tls_verify)} cannot be used"
        raise SettingsError([f"uploads.tls_verify: {problem} ({error.strerror or error})"]) from error
