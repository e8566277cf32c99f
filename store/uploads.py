"""Where pictures go: a folder, addressed by keys and seen through URLs.

A key is a relative path of plain names (`<owner>/<day>/<face id>_<random>_photo.jpeg`).
The URL of a key is known before anything is uploaded, so that a document can name its
pictures first and a repeated upload lands in the same place.
"""

import asyncio
import contextlib
import errno
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from store.errors import PictureRefusedError, UploadError
from store.files import files_below, is_temporary, leftovers, make_folder, write_durably

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_LONGEST_KEY = 1024
_OF_ONE_PICTURE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EFBIG, errno.EILSEQ, errno.EINVAL})
"""Errors that concern a file's own name or size; all others (`ENOSPC`, `EROFS`, `EACCES` …) the folder."""


class Uploads(Protocol):
    """A place for pictures. Every method raises UploadError where the place cannot be reached or used,
    and ValueError for a key that is not a relative path of plain names."""

    def url_of(self, key: str) -> str:
        """The URL under which the key's data is, or will be."""
        ...

    def key_of(self, url: str) -> str | None:
        """The key behind one of our URLs; None for any other."""
        ...

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        """Stores the data, replacing what was there, whole or not at all; returns the URL.

        PictureRefusedError where this one picture can never be stored, and others may.
        """
        ...

    async def get(self, key_or_url: str) -> bytes | None:
        """The data; None where there is none."""
        ...

    async def delete(self, key_or_url: str) -> bool:
        """Removes the data; False where there was none, or where the URL is not ours."""
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """The keys below a folder of keys (`<owner>` or `<owner>/<day>`), or all, in order."""
        ...

    async def sizes(self, prefix: str = "") -> dict[str, int]:
        """The keys below a folder of keys, or all, and how many bytes each holds."""
        ...

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        """Those behind which there is nothing. URLs that are not ours count as there."""
        ...

    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names of the folders of keys right below one, in order."""
        ...

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        """Removes half-written data that a killed run left, and returns how many there were."""
        ...


def checked_key(key: str) -> str:
    """The key, where it is a relative path of plain names; ValueError otherwise."""
    if len(key) > _LONGEST_KEY or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key!r:.80} is no key: letters, digits, '_', '-' and '.' between single slashes")
    return key


def _is_key(text: str) -> bool:
    try:
        checked_key(text)
    except ValueError:  # a file that another program put there
        return False
    return True


def key_of_owner(uploads: Uploads, owner: object, url: object) -> str | None:
    """The key behind a URL below the owner's own folder; None for any other, somebody else's too.

    Fields of documents may hold anybody's URLs, because their owners write into them.
    """
    key = uploads.key_of(url) if isinstance(url, str) else None
    return key if key is not None and key.startswith(f"{owner}/") else None


class Addresses:
    """The URLs of keys below a base URL, as every place for pictures has them."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/") + "/"

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


class FolderUploads(Addresses):
    """Pictures in a local folder, readable by the service's user alone.

    `base_url` is where a web server shows the folder; empty means `file://` URLs.
    """

    def __init__(self, folder: Path, base_url: str = "") -> None:
        self._folder = folder.absolute()
        super().__init__(base_url or self._folder.as_uri())

    def path_of(self, key: str) -> Path:
        """Where the key's data lies. A folder may be a link to another disk."""
        return self._folder / checked_key(key)

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        await asyncio.to_thread(self._put, key, data)
        return self.url_of(key)

    async def get(self, key_or_url: str) -> bytes | None:
        key = self._own_key(key_or_url)
        return None if key is None else await asyncio.to_thread(self._get, key)

    async def delete(self, key_or_url: str) -> bool:
        key = self._own_key(key_or_url)
        return key is not None and await asyncio.to_thread(self._delete, key)

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        for key in await asyncio.to_thread(lambda: sorted(self._keys(prefix))):
            yield key

    async def sizes(self, prefix: str = "") -> dict[str, int]:
        return await asyncio.to_thread(self._sizes, prefix)

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        return await asyncio.to_thread(lambda: [one for one in keys_or_urls if not self._is_there(one)])

    async def list_folders(self, prefix: str = "") -> list[str]:
        return await asyncio.to_thread(self._folders, prefix)

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        return await asyncio.to_thread(self._remove_leftovers, older_than_seconds)

    def _put(self, key: str, data: bytes) -> None:
        path = self.path_of(key)
        try:
            self._write(path, data)
        except OSError as error:
            if error.errno in _OF_ONE_PICTURE:
                raise PictureRefusedError(f"cannot write {path}: {error.strerror}") from error
            raise self._failed("write", path, error) from error

    def _write(self, path: Path, data: bytes) -> None:
        make_folder(path.parent)
        write_durably(path, data)

    def _get(self, key: str) -> bytes | None:
        path = self.path_of(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", path, error) from error

    def _delete(self, key: str) -> bool:
        path = self.path_of(key)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed("remove", path, error) from error
        for folder in path.parents:  # the day's folder goes with its last picture
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:
                break
        return True

    def _keys(self, prefix: str) -> Iterator[str]:
        start = self.path_of(prefix) if prefix else self._folder
        try:
            for path in files_below(start):
                key = path.relative_to(self._folder).as_posix()
                if not is_temporary(path) and _is_key(key):
                    yield key
        except OSError as error:
            raise self._failed("list", start, error) from error

    def _sizes(self, prefix: str) -> dict[str, int]:
        sizes = {}
        for key in self._keys(prefix):
            path = self._folder / key
            try:
                sizes[key] = path.stat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                raise self._failed("read", path, error) from error
        return sizes

    def _is_there(self, key_or_url: str) -> bool:
        key = self._own_key(key_or_url)
        if key is None:
            return True
        path = self.path_of(key)
        try:
            return path.is_file()
        except OSError as error:
            raise self._failed("read", path, error) from error

    def _folders(self, prefix: str) -> list[str]:
        start = self.path_of(prefix) if prefix else self._folder
        try:
            return sorted(path.name for path in start.iterdir() if path.is_dir()) if start.is_dir() else []
        except OSError as error:
            raise self._failed("list", start, error) from error

    def _remove_leftovers(self, older_than_seconds: float) -> int:
        removed = 0
        for path in leftovers(self._folder, older_than_seconds):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self._failed("remove", path, error) from error
            removed += 1
        return removed

    def _failed(self, verb: str, path: Path, error: OSError) -> UploadError:
        return UploadError(
            f"cannot {verb} {path}: {error.strerror or error}; "
            "make room on the disk, or give the service's user the right to use the uploads folder"
        )
