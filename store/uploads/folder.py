"""Pictures in a local folder."""

import asyncio
import contextlib
import errno
import heapq
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.base.files import leftovers, make_folder, read_regular, write_durably
from store.errors import PictureRefusedError, UploadError
from store.uploads.keys import KeyUrls, checked_key, key_below
from store.uploads.marker import MARKER, location_in, new_marker
from store.uploads.storage import MAX_PICTURE_BYTES, StoredPicture

_PICTURE_ERRNOS = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EFBIG, errno.EILSEQ, errno.EINVAL})
"""Errors about one file's name or size. All others (`ENOSPC`, `EROFS`, `EACCES` …) concern the folder."""
_PAGE_SIZE = 500
"""Pictures listed per call to the thread pool."""
_SORT_CHUNK = 5_000
"""Names per call of `sort`, which holds the GIL and delays the event loop."""


class FolderUploads(KeyUrls):
    """Pictures in a local folder, readable by the service user only; implements `Uploads`.

    `base_url`: the URL at which a web server serves the folder. Default: a `file://` URL.
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
        while page := await asyncio.to_thread(lambda: list(islice(walk, _PAGE_SIZE))):
            for key in page:
                yield key

    async def entries(self, prefix: str = "") -> AsyncIterator[StoredPicture]:
        walk = self._walk_with_sizes(prefix)
        while page := await asyncio.to_thread(lambda: list(islice(walk, _PAGE_SIZE))):
            for entry in page:
                yield entry

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        return await asyncio.to_thread(lambda: [name for name in keys_or_urls if not self._exists(name)])

    async def list_folders(self, prefix: str = "") -> list[str]:
        return await asyncio.to_thread(self._folders, prefix)

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        return await asyncio.to_thread(self._remove_leftovers, older_than_seconds)

    def _put(self, key: str, data: bytes) -> None:
        path = self.path_of(key)
        try:
            self._write(path, data)
        except OSError as error:
            if error.errno in _PICTURE_ERRNOS:
                raise PictureRefusedError(f"cannot write {path}: {error.strerror}") from error
            raise self._error("write", path, error) from error

    def _write(self, path: Path, data: bytes) -> None:
        make_folder(path.parent)
        write_durably(path, data)

    def _get(self, key: str) -> bytes | None:
        path = self.path_of(key)
        try:
            return read_regular(path, MAX_PICTURE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("read", path, error) from error

    def _delete(self, key: str) -> bool:
        path = self.path_of(key)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._error("remove", path, error) from error
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
            return location_in(read_regular(path), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._error("read", path, error) from error

    def _claim(self) -> str:
        if (known := self._location()) is not None:
            return known
        path, (location, content) = self._folder / MARKER, new_marker()
        temporary = path.with_name(f".{MARKER}.{location[:8]}.part")
        try:
            make_folder(self._folder)
            write_durably(temporary, content)
            try:
                os.link(temporary, path)  # fails if another process created it first
            except FileExistsError:
                pass
            except OSError:  # a file system without links, such as exFAT
                write_durably(path, content)
            temporary.unlink()
            if self._location() is None:  # the marker is empty
                write_durably(path, content)
        except OSError as error:
            raise self._error("write", path, error) from error
        return self._location() or location

    def _walk(self, prefix: str) -> Iterator[str]:
        """The keys in order. Follows links to other folders and skips foreign names."""
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
        """Open a folder of keys. It has no names if it is gone, a dangling link, or a link to one of its
        parents."""
        path = self._folder / folder
        try:
            if path.is_dir():
                status = path.stat()
                if (identity := (status.st_dev, status.st_ino)) not in above:
                    return _Level(folder, _names_in_order(path, folder), above | {identity})
        except FileNotFoundError:  # removed meanwhile
            pass
        except OSError as error:
            raise self._error("list", path, error) from error
        return _Level(folder, iter(()), above)

    def _walk_with_sizes(self, prefix: str) -> Iterator[StoredPicture]:
        root = str(self._folder)
        for key in self._walk(prefix):
            try:
                yield StoredPicture(key, os.stat(f"{root}/{key}").st_size)  # noqa: PTH116  a million times
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                raise self._error("read", self._folder / key, error) from error

    def _exists(self, key_or_url: str) -> bool:
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
                        f"{link} points to {link.readlink()}, which does not exist: mount that disk"
                    )
        except OSError as error:
            raise self._error("read", path, error) from error
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
                raise self._error("remove", path, error) from error
            prefix = f"{level.folder}/" if level.folder else ""
            folders += [
                self._open(prefix + name[:-1], level.above) for name in level.names if name[-1] == "/"
            ]
        return removed

    def _error(self, verb: str, path: Path, error: OSError) -> UploadError:
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
    """Device and inode of this folder and its parents, to detect loops of links."""


def _names_in_order(path: Path, folder: str) -> Iterator[str]:
    """The valid names in a folder, sorted; names of sub-folders end with a slash."""
    chunks = []
    with os.scandir(path) as found:
        named = (name for entry in found if (name := _name(entry, folder)))
        while chunk := sorted(islice(named, _SORT_CHUNK)):
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
