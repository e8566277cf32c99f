"""Storage for pictures, addressed by keys and visible through URLs; here in a folder.

A key is a relative path of plain names (`<owner>/<day>/<face id>_<random>_photo.jpeg`).
The URL of a key is known before the upload, so that a document can name its pictures
first and a repeated upload replaces the same file.

A place has a random id in the file `facend-location` at its root. Stored faces record it, because the same
URL on two boxes, or before and after a disk is mounted, can be two places.
"""

import asyncio
import contextlib
import errno
import heapq
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from pipeline.base.files import leftovers, make_folder, write_durably
from store.errors import PictureRefusedError, UploadError

MARKER = "facend-location"
"""The file with the id of a place for pictures. Not a key of a picture."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_LONGEST_KEY = 1024
_KEY_AT_END = re.compile(r"/([0-9a-f]{24}/\d{8}/\d{1,19}_[0-9a-f]{12}_[a-z]+\.[a-z]+)\Z")
"""Keys as `ServerFaces.gen_ffupload_key` makes them."""
_LOCATION = re.compile(r"[0-9a-f]{32}")
_OF_ONE_PICTURE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EFBIG, errno.EILSEQ, errno.EINVAL})
"""Errors about one file's name or size. All others (`ENOSPC`, `EROFS`, `EACCES` …) concern the folder."""
_PAGE = 500
"""Pictures listed per call to the thread pool."""
_SORTED_AT_ONCE = 5_000
"""Names per call of `sort`, which holds the GIL and so delays the event loop."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored picture."""

    key: str
    size: int
    """Bytes."""


class Uploads(Protocol):
    """A place for pictures.

    Methods raise UploadError where the place cannot be used, and ValueError for a key that is not a relative
    path of plain names.
    """

    @property
    def address(self) -> str:
        """The base URL, for messages."""
        ...

    async def location(self) -> str | None:
        """The id of this place; None for a new place and a disk that is not mounted."""
        ...

    async def claim(self) -> str:
        """The id of this place, created on first use."""
        ...

    def url_of(self, key: str) -> str:
        """The URL of a key, before and after its upload."""
        ...

    def key_of(self, url: str) -> str | None:
        """The key of a URL of this place; None for any other."""
        ...

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        """Stores the data atomically, replacing what was there; returns the URL.

        PictureRefusedError where only this picture can never be stored.
        """
        ...

    async def get(self, key_or_url: str) -> bytes | None:
        """The data; None where there is none."""
        ...

    async def delete(self, key_or_url: str) -> bool:
        """Removes the data; False where there is none, or the URL is of another place."""
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """The keys below a folder of keys (`<owner>` or `<owner>/<day>`), or all, in order.

        Foreign names are skipped. Listed page by page off the event loop, in the memory of one folder's
        names.
        """
        ...

    def entries(self, prefix: str = "") -> AsyncIterator[Entry]:
        """As `list_keys`, with sizes."""
        ...

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        """Those without data. URLs of other places count as present."""
        ...

    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names of the direct sub-folders of a folder of keys, in order."""
        ...

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        """Removes partial files of killed runs; returns their number."""
        ...


def checked_key(key: str) -> str:
    """The key. ValueError unless it is a relative path of plain names."""
    if len(key) > _LONGEST_KEY or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key!r:.80} is no key: letters, digits, '_', '-' and '.' between single slashes")
    return key


def key_below(folder: str, name: str) -> str | None:
    """The key of an entry in a folder of keys (empty: the root); None for a name or a length no key has.

    Folders and servers also hold what others put there, such as `lost+found`, `@eaDir` or `.trash`. Listings
    skip it.
    """
    if not _PART.fullmatch(name):
        return None
    key = f"{folder}/{name}" if folder else name
    return key if len(key) <= _LONGEST_KEY else None


def key_of_owner(uploads: Uploads, owner: object, url: object) -> str | None:
    """The key of a URL below the owner's folder; None for any other.

    Documents may name URLs of other owners, because users write these fields.
    """
    key = uploads.key_of(url) if isinstance(url, str) else None
    return key if key is not None and key.startswith(f"{owner}/") else None


def new_marker() -> tuple[str, bytes]:
    """A new id of a place, and the content of its marker file."""
    location = secrets.token_hex(16)
    note = "Facend recognises this place for pictures by the id above. Keep this file, also in backups."
    return location, f"{location}\n{note}\n".encode("ascii")


def location_in(marker: bytes, where: str) -> str | None:
    """The id in a marker file; None for an empty one, which a power cut can leave."""
    if not marker.strip():
        return None
    first = marker.split(b"\n", 1)[0].strip().decode("ascii", errors="replace")
    if not _LOCATION.fullmatch(first):
        raise UploadError(
            f"{where} is damaged: its first line is no id of 32 hexadecimal digits; restore it from a backup"
        )
    return first


def stored_key(uploads: Uploads, owner: object, url: object) -> str | None:
    """As `key_of_owner`, also for URLs from before the folder was moved or its base URL changed.

    Keys are unique at random, so the end of the URL identifies the picture.
    """
    key = named_key(uploads, url)
    return key if key is not None and key.startswith(f"{owner}/") else None


def named_key(uploads: Uploads, url: object) -> str | None:
    """The key in a URL of any owner and any place."""
    if not isinstance(url, str):
        return None
    found = _KEY_AT_END.search(unquote(url))
    return found[1] if found else uploads.key_of(url)


class Addresses:
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


class FolderUploads(Addresses):
    """Pictures in a local folder, readable by the service user only.

    `base_url`: where a web server serves the folder. Default: `file://` URLs.
    """

    def __init__(self, folder: Path, base_url: str = "") -> None:
        self._folder = folder.absolute()
        super().__init__(base_url or self._folder.as_uri())

    def path_of(self, key: str) -> Path:
        """The file of the key. Folders may be links to another disk."""
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

    async def location(self) -> str | None:
        return await asyncio.to_thread(self._location)

    async def claim(self) -> str:
        return await asyncio.to_thread(self._claim)

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        walk = self._walk(prefix)
        while page := await asyncio.to_thread(lambda: list(islice(walk, _PAGE))):
            for key in page:
                yield key

    async def entries(self, prefix: str = "") -> AsyncIterator[Entry]:
        walk = self._measured(prefix)
        while page := await asyncio.to_thread(lambda: list(islice(walk, _PAGE))):
            for entry in page:
                yield entry

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
        for folder in path.parents:  # removes the day's folder with its last picture
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:
                break
        return True

    def _location(self) -> str | None:
        path = self._folder / MARKER
        try:
            return location_in(path.read_bytes(), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed("read", path, error) from error

    def _claim(self) -> str:
        if (known := self._location()) is not None:
            return known
        path, (location, content) = self._folder / MARKER, new_marker()
        temporary = path.with_name(f".{MARKER}.{location[:8]}.part")
        try:
            make_folder(self._folder)
            write_durably(temporary, content)
            try:
                os.link(temporary, path)  # fails if another process was faster
            except FileExistsError:
                pass
            except OSError:  # a file system without links, such as exFAT
                write_durably(path, content)
            temporary.unlink()
            if self._location() is None:  # an empty marker
                write_durably(path, content)
        except OSError as error:
            raise self._failed("write", path, error) from error
        return self._location() or location

    def _walk(self, prefix: str) -> Iterator[str]:
        """The keys in order, through links to other folders as well. Foreign names are skipped."""
        levels = [self._open(prefix, frozenset())]
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                levels.pop()
                continue
            key = f"{level.folder}/{name}" if level.folder else name
            if key[-1] == "/":
                levels.append(self._open(key[:-1], level.above))
            elif key != MARKER:
                yield key

    def _open(self, folder: str, above: frozenset[tuple[int, int]]) -> "_Level":
        """One folder of keys; without names where it is gone, leads nowhere or is a link to one above it."""
        path = self._folder / folder
        try:
            if path.is_dir():
                status = path.stat()
                if (place := (status.st_dev, status.st_ino)) not in above:
                    return _Level(folder, _names_in_order(path, folder), above | {place})
        except FileNotFoundError:  # removed meanwhile
            pass
        except OSError as error:
            raise self._failed("list", path, error) from error
        return _Level(folder, iter(()), above)

    def _measured(self, prefix: str) -> Iterator[Entry]:
        root = str(self._folder)
        for key in self._walk(prefix):
            try:
                yield Entry(key, os.stat(f"{root}/{key}").st_size)  # noqa: PTH116  a million times
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                raise self._failed("read", self._folder / key, error) from error

    def _is_there(self, key_or_url: str) -> bool:
        key = self._own_key(key_or_url)
        if key is None:
            return True
        path = self.path_of(key)
        try:
            if path.is_file():
                return True
            for folder in path.relative_to(self._folder).parents:
                link = self._folder / folder
                if link.is_symlink() and not link.exists():
                    raise UploadError(
                        f"{link} leads to {link.readlink()}, which does not exist: mount that disk"
                    )
        except OSError as error:
            raise self._failed("read", path, error) from error
        return False

    def _folders(self, prefix: str) -> list[str]:
        return [name[:-1] for name in self._open(prefix, frozenset()).names if name[-1] == "/"]

    def _remove_leftovers(self, older_than_seconds: float) -> int:
        removed = 0
        folders = [self._open("", frozenset())]
        while folders:
            level = folders.pop()
            path = self._folder / level.folder
            try:
                for left in leftovers(path, older_than_seconds):
                    left.unlink(missing_ok=True)
                    removed += 1
            except OSError as error:
                raise self._failed("remove", path, error) from error
            prefix = f"{level.folder}/" if level.folder else ""
            folders += [
                self._open(prefix + name[:-1], level.above) for name in level.names if name[-1] == "/"
            ]
        return removed

    def _failed(self, verb: str, path: Path, error: OSError) -> UploadError:
        return UploadError(
            f"cannot {verb} {path}: {error.strerror or error}; "
            "make room on the disk, or give the service's user the right to use the uploads folder"
        )


@dataclass(frozen=True, slots=True)
class _Level:
    """An open folder of keys."""

    folder: str
    names: Iterator[str]
    """As `_names_in_order`."""
    above: frozenset[tuple[int, int]]
    """Device and inode of this folder and of those it was reached through."""


def _names_in_order(path: Path, folder: str) -> Iterator[str]:
    """The names in a folder that make keys below it, sorted; those of folders end with a slash."""
    chunks = []
    with os.scandir(path) as found:
        named = (name for entry in found if (name := _name(entry, folder)))
        while chunk := sorted(islice(named, _SORTED_AT_ONCE)):
            chunks.append(chunk)
    return iter(chunks[0]) if len(chunks) == 1 else heapq.merge(*chunks)


def _name(entry: "os.DirEntry[str]", folder: str) -> str | None:
    if key_below(folder, entry.name) is not None:
        with contextlib.suppress(OSError):  # a link to itself
            if entry.is_dir():
                return f"{entry.name}/"
            if entry.is_file():
                return entry.name
    return None
