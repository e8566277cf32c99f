"""Keys of pictures, and their URLs.

A key is a relative path of plain names: `<owner>/<YYYYMMDD>/<face id>_<12 hex>_photo.jpeg`.
"""

import contextlib
import re
from urllib.parse import quote, unquote

from store.uploads.storage import Uploads

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_MAX_LENGTH = 1024
_KEY_AT_END = re.compile(r"/([0-9a-f]{24}/\d{8}/\d{1,19}_[0-9a-f]{12}_[a-z]+\.[a-z]+)\Z")
"""A key of `ServerFaces.gen_ffupload_key` at the end of a URL."""


def checked_key(key: str) -> str:
    """The key. ValueError unless it is a relative path of plain names."""
    if len(key) > _MAX_LENGTH or not all(_NAME.fullmatch(part) for part in key.split("/")):
        raise ValueError(
            f"{key!r:.80} is not a key: letters, digits, '_', '-' and '.' between single slashes"
        )
    return key


def key_below(folder: str, name: str) -> str | None:
    """The key of an entry in a folder of keys (empty: the root); None if it would be invalid.

    Folders and servers also contain foreign files, such as `lost+found`, `@eaDir` or `.trash`, which listings
    skip.
    """
    if not _NAME.fullmatch(name):
        return None
    key = f"{folder}/{name}" if folder else name
    return key if len(key) <= _MAX_LENGTH else None


def key_of_owner(uploads: Uploads, owner: object, url: object) -> str | None:
    """The key of a URL in the owner's folder; None for any other URL.

    Documents may have URLs of other owners, because users can write these fields.
    """
    key = uploads.key_of(url) if isinstance(url, str) else None
    return key if key is not None and key.startswith(f"{owner}/") else None


def stored_key(uploads: Uploads, owner: object, url: object) -> str | None:
    """As `key_of_owner`, and also for URLs from before the folder was moved or its base URL changed.

    Keys are random and unique, so the end of the URL identifies the picture.
    """
    key = named_key(uploads, url)
    return key if key is not None and key.startswith(f"{owner}/") else None


def named_key(uploads: Uploads, url: object) -> str | None:
    """The key in a URL of any owner and location, or None."""
    if not isinstance(url, str):
        return None
    found = _KEY_AT_END.search(unquote(url))
    return found[1] if found else uploads.key_of(url)


class KeyUrls:
    """URLs of keys below a base URL."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/") + "/"

    @property
    def address(self) -> str:
        return self._base_url

    def url_of(self, key: str) -> str:
        return self._base_url + quote(checked_key(key))

    def key_of(self, url: str) -> str | None:
        if not url.startswith(self._base_url):
            return None
        with contextlib.suppress(ValueError):
            return checked_key(unquote(url.removeprefix(self._base_url)))
        return None

    def _own_key(self, key_or_url: str) -> str | None:
        return self.key_of(key_or_url) if "://" in key_or_url else checked_key(key_or_url)
