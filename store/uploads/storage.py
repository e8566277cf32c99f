"""`Uploads`: the interface of picture storages, a folder (`folder`) or a WebDAV server (`webdav`).

A picture has a key (`store.uploads.keys`) and a URL, which is known before the upload: a document can refer
to its pictures first, and a repeated upload replaces the same file.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_PICTURE_BYTES = 512 * 1024 * 1024
"""Maximum size of a picture that is read: more than that of any picture that can be decoded."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A stored picture, as listed."""

    key: str
    size: int
    """Bytes."""


class Uploads(Protocol):
    """A storage location for pictures.

    Methods raise UploadError if the location cannot be used, and ValueError for an invalid key.
    """

    @property
    def address(self) -> str:
        """The base URL, for messages."""
        ...

    async def location(self) -> str | None:
        """The location's id (`store.uploads.marker`); None if it is new, or its disk not mounted."""
        ...

    async def claim(self) -> str:
        """The location's id, created on first use."""
        ...

    def url_of(self, key: str) -> str:
        """The URL of a key, before and after its upload."""
        ...

    def key_of(self, url: str) -> str | None:
        """The key of a URL below the base URL; None for any other URL."""
        ...

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        """Store the data atomically, replacing existing data; returns the URL.

        Raises:
            PictureRefusedError: this picture can never be stored; others can.
        """
        ...

    async def get(self, key_or_url: str) -> bytes | None:
        """The data, or None."""
        ...

    async def delete(self, key_or_url: str) -> bool:
        """Remove the data; False if there is none, or the URL is not below the base URL."""
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """All keys in order, or those below a folder of keys (`<owner>` or `<owner>/<day>`).

        Skips foreign names. Works off the event loop, page by page, and holds the names of one folder in
        memory.
        """
        ...

    def entries(self, prefix: str = "") -> AsyncIterator[StoredPicture]:
        """As `list_keys`, with sizes."""
        ...

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        """Those keys or URLs without data. URLs that are not below the base URL count as present."""
        ...

    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names of the direct sub-folders of a folder of keys, in order."""
        ...

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        """Remove partial files of killed runs; returns their number."""
        ...
