"""Folders of people: which pictures there are, and whose they are."""

from dataclasses import dataclass
from pathlib import Path

from daemon.evaluation.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True, slots=True)
class Labelled:
    path: Path
    person: str


def labelled(folder: Path) -> list[Labelled]:
    """The pictures of people in a folder, sorted by name.

    A sub-folder is a person of that name; a picture beside the sub-folders is called PERSON_VARIANT, where
    the variant is what stands after the last underscore. Hidden files, and files that by their name are no
    pictures, are left out. InputError where there is no such folder or no picture in it.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    found = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += [
                Labelled(path, entry.name) for path in sorted(entry.rglob("[!.]*")) if _is_picture(path)
            ]
        elif _is_picture(entry):
            found.append(Labelled(entry, entry.stem.rpartition("_")[0] or entry.stem))
    if not found:
        raise InputError(
            f"{folder}: there are no pictures in it; expected PERSON/*.jpg or PERSON_VARIANT.jpg"
        )
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
