"""Finds the pictures in a folder, and the names of the people in them."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Names = Literal["auto", "folder", "file", "none"]
"""Source of the names of pictures that are in no sub-folder."""

_IGNORED_FOLDERS = frozenset(
    {
        *("@eadir", "__macosx", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp"),
        *("$recycle.bin", "lost+found", "system volume information", "network trash folder"),
        *("temporary items", "picasaoriginals", "thumbnails", "thumbs", "_thumb", "_thumbs", "__pycache__"),
        *("recycler", "recycled", "cvs", "node_modules", "_vti_cnf", "_vti_pvt", "ipod photo cache", "cache"),
    }
)
"""Folders that file servers, desktops and photo programs create beside pictures, in lower case."""
_IGNORED_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
_IGNORED_SUFFIXES = frozenset(
    {
        *(".xmp", ".aae", ".ini", ".db", ".lnk", ".url", ".tmp", ".part", ".crdownload", ".json", ".bak"),
        *(".thm", ".lrcat", ".lrdata", ".photoslibrary"),
    }
)
_IGNORED_STARTS = (".", "@", "#", "$", "~")
"""File servers mark their own files and folders so."""
_IGNORED_ENDS = ("~", "@synoeastream", "@synoresource")
_LOST_CHAIN = re.compile(r"found\.[0-9]{3}")
"""Folder that chkdsk writes."""
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff\u00ad"))
"""Spaces of no width and marks; the joiners U+200C and U+200D are part of some names."""
_NAME_VARIANTS = str.maketrans(
    {"_": " ", "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u0307": None, "\u0131": "i"}
    | dict.fromkeys("\u2010\u2011\u2012\u2013", "-")
)
"""Typographic variants of a character, and what is left of Turkish letters when their case is folded."""
_COUNTER = re.compile(
    r"(?:[\s_.-]*(?:\(\d{1,4}\)|\[\d{1,4}\]|\d{1,4})|[\s_.-]+(?:copy|kopie))+$", re.IGNORECASE
)
"""Suffixes that number the pictures of a person: `Ann_1`, `Ann (2)`, `Ann-03 copy`."""
_ANONYMOUS = re.compile(
    r"(?:(?:img|image|dsc[nf]?|dcim|pict?|picture|photo|foto|bild|pxl|mvimg|imgp|gopr|gp|dji|mov|vid|wp|scan|"
    r"kif|hpim|cimg|imag|mvc|snapchat|cloud|size|media|download|original|"
    r"cropped|resized|avatar|thumb|"
    r"screenshot|bildschirmfoto|capture|frame|face|gesicht|portrait|porträt|passport|passbild|selfie|snapshot|"
    r"snap|cam|camera|kamera|whatsapp|signal|telegram|fb|received|unknown|untitled|unnamed|test|large|small|"
    r"front|frontal|left|right|side|profile?|up|down|smile|glasses|new|old|at|wa|am|pm|edited|vorne|links|rechts)"
    r"(?![^\W\d_])|[\W\d_]|(?=[a-f]*[0-9])[0-9a-f]{3,}|[0-9a-f]{8,}|\b[a-z]\b)+",
    re.IGNORECASE,
)
"""File names that name no person: those of cameras, programs and poses."""


@dataclass(frozen=True, slots=True)
class EnrolmentPicture:
    """A picture to enrol."""

    path: Path
    label: str
    """Its name in reports and in the face's `meta`."""
    person: str | None = None
    """The name of the person in the picture; None if unknown."""


@dataclass(frozen=True, slots=True)
class FolderContents:
    """The pictures of a folder, ordered by person, and the number of ignored files."""

    pictures: tuple[EnrolmentPicture, ...]
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Number of ignored files, which file servers and desktops create, by the name of the folder or file."""

    @property
    def persons(self) -> dict[str, int]:
        """Number of pictures by name, in order."""
        return dict(Counter(picture.person for picture in self.pictures if picture.person is not None))

    @property
    def nameless(self) -> int:
        """Number of pictures without the name of a person."""
        return sum(picture.person is None for picture in self.pictures)

    def with_name(self, name: str) -> "FolderContents":
        """A copy in which all pictures are of the person with this name."""
        named = (replace(picture, person=shown_name(name)) for picture in self.pictures)
        return replace(self, pictures=tuple(named))


def person_key(name: str) -> str:
    """A key that all spellings of a name share, whatever their case, spaces, Unicode normal form, invisible
    characters and typographic variants."""
    shown = "".join(character for character in name if unicodedata.category(character) != "Cf")
    folded = unicodedata.normalize("NFKC", shown).casefold().translate(_NAME_VARIANTS)
    return unicodedata.normalize("NFC", " ".join(folded.split()).rstrip(" .")) or name


def shown_name(name: str) -> str:
    """The name as it is stored: composed characters (NFC), single spaces."""
    return unicodedata.normalize("NFC", " ".join(name.translate(_INVISIBLE).split()))


def pictures_in(place: Path, names: Names = "auto") -> FolderContents:
    """The pictures of a folder, or a single picture. Sub-folders are named after the person in their
    pictures.

    A picture in no sub-folder is named by its file, unless the file has a name such as IMG_0001; otherwise by
    its folder, if that has no sub-folders.

    Raises:
        OSError: the folder cannot be read.
    """
    spellings: dict[str, str] = {}
    ignored: Counter[str] = Counter()
    if not place.is_dir():
        name = _loose_name(place, folder_has_name=True, names=names)
        return FolderContents((EnrolmentPicture(place, place.name, name),))
    loose, found = [], []
    for entry in sorted(place.iterdir()):
        if (reason := _ignored_as(entry)) is not None:
            ignored[reason] += _files_in(entry)
        elif entry.is_dir():
            inside = list(_files(entry, ignored))
            person = _one_spelling(entry.name, spellings)
            found += [EnrolmentPicture(path, str(path.relative_to(place)), person) for path in inside]
        else:
            loose.append(entry)
    has_sub_folders = bool(found)
    for path in loose:
        loose_name = _loose_name(path, folder_has_name=not has_sub_folders, names=names)
        named = None if loose_name is None else _one_spelling(loose_name, spellings)
        found.append(EnrolmentPicture(path, path.name, named))
    return FolderContents(tuple(_by_person(found)), dict(ignored))


def _loose_name(path: Path, *, folder_has_name: bool, names: Names) -> str | None:
    """The name of a picture in no sub-folder. `folder_has_name`: its folder may be named after a person."""
    stem = shown_name(path.stem.removeprefix("_MG_").replace("_", " "))
    by_file = shown_name(_COUNTER.sub("", stem)).strip(" -.,") or None
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow a link to the picture
    by_folder = shown_name(absolute.parent.name) or None
    if names == "none":
        return None
    if names == "folder":
        return by_folder
    if names == "file":
        return by_file or stem
    if by_file is not None and not _ANONYMOUS.fullmatch(by_file) and not _ANONYMOUS.fullmatch(stem):
        return by_file
    return by_folder if folder_has_name else None


def _one_spelling(name: str, spellings: dict[str, str]) -> str:
    return spellings.setdefault(person_key(name), shown_name(name) or name)


def _by_person(pictures: Iterable[EnrolmentPicture]) -> list[EnrolmentPicture]:
    """Group the pictures by person, in the order of each person's first picture; nameless pictures last."""
    groups: dict[str | None, list[EnrolmentPicture]] = {}
    for picture in pictures:
        groups.setdefault(picture.person, []).append(picture)
    nameless = groups.pop(None, [])
    return [*(picture for group in groups.values() for picture in group), *nameless]


def _files(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    """The files of a person's folder, however deep; links to folders are not followed."""
    for entry in sorted(folder.iterdir()):
        if (reason := _ignored_as(entry)) is not None:
            ignored[reason] += _files_in(entry)
        elif entry.is_dir() and not entry.is_symlink():
            yield from _files(entry, ignored)
        elif entry.is_file():
            yield entry


def _ignored_as(path: Path) -> str | None:
    """The name under which an ignored file or folder is counted; None for pictures and their folders."""
    name = path.name.casefold()
    if name.startswith("._"):
        return "._*"
    if name in _IGNORED_FILES or name.startswith(_IGNORED_STARTS) or name.endswith(_IGNORED_ENDS):
        return path.name
    if (name in _IGNORED_FOLDERS or _LOST_CHAIN.fullmatch(name)) and path.is_dir():
        return path.name
    if name.startswith("synofile_thumb"):
        return "SYNOFILE_THUMB*"
    return f"*{path.suffix.lower()}" if path.suffix.lower() in _IGNORED_SUFFIXES else None


def _files_in(path: Path) -> int:
    """Number of files in a folder; 1 for a file."""
    if path.is_symlink() or not path.is_dir():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))
