"""Reads folders of labelled pictures; and the error for unusable input."""

from dataclasses import dataclass
from pathlib import Path

from daemon.errors import StartError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ppm"})


class InputError(StartError):
    """A file or folder that an evaluation cannot use; the message names it. Exit status 2."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    path: Path
    person: str


def labelled_pictures(folder: Path) -> list[LabelledPicture]:
    """The pictures in a folder with their persons, sorted by name.

    A sub-folder is named after the person in its pictures. A file in no sub-folder is named PERSON_VARIANT,
    with the variant after the last underscore. Hidden files, and files without a picture's suffix, are
    ignored.

    Raises:
        InputError: the folder does not exist, or contains no pictures.
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
                LabelledPicture(path, entry.name)
                for path in sorted(entry.rglob("[!.]*"))
                if _is_picture(path)
            ]
        elif _is_picture(entry):
            found.append(LabelledPicture(entry, entry.stem.rpartition("_")[0] or entry.stem))
    if not found:
        raise InputError(f"{folder}: it contains no pictures; expected PERSON/*.jpg or PERSON_VARIANT.jpg")
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
