"""Evaluates the pairs protocol of LFW: do two pictures show one person?

pairs.txt begins with the line `10 300` (ten folds, each of 300 genuine pairs and then 300 impostor pairs) or
`2200` (one set of 2200 genuine pairs and then 2200 impostor pairs). A genuine pair is `name i j`, an impostor
pair `name1 i name2 j`; the pictures are named name/name_0001.jpg.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.evaluation.faces import FaceFinder, PictureFace, Progress, confidence, find_faces
from daemon.evaluation.folds import Accuracy, accuracy
from daemon.evaluation.inputs import InputError
from daemon.evaluation.rates import NO_FACE, Numbers, Point, Roc, at_far, roc

FOLDS = 10
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Pair:
    one: Path
    other: Path
    same: bool
    fold: int


@dataclass(frozen=True, slots=True)
class PairScores:
    """Scores of a face finder. A pair with an undetected face counts as not matched at every threshold."""

    accuracy: Accuracy
    curve: Roc
    at_far: tuple[Point, ...]
    """At FAR 1e-2 and 1e-3."""
    genuines: int
    impostors: int
    pictures: int
    pictures_without_face: tuple[Path, ...]
    pairs_without_face: int
    seconds: float
    """Duration for all pictures, on all cores."""


def read_pairs(file: Path, folder: Path) -> list[Pair]:
    """The pairs of a file, with pictures in `folder`.

    Raises:
        InputError: a line is malformed, or a picture or the folder is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not a text file: {error}") from error
    numbered = [(number, _fields(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{file}: it contains no pairs")
    folds, each = _header(file, *numbered[0])
    rows = numbered[1:]
    if len(rows) != folds * each * 2:
        raise InputError(
            f"{file}: line 1 promises {folds * each * 2} pairs ({folds} × 2 × {each}), there are {len(rows)}"
        )
    pairs = []
    for count, (number, fields) in enumerate(rows):
        same = count // each % 2 == 0
        # A single set is divided into folds with equal numbers of both kinds.
        fold = count // (2 * each) if folds > 1 else count % each % FOLDS
        pairs.append(_pair(f"{file}, line {number}", fields, same, fold, folder))
    return pairs


def evaluate(pairs: Sequence[Pair], find: FaceFinder, progress: Progress) -> PairScores:
    """The scores of one face finder.

    Raises:
        InputError: no genuine pair, or no impostor pair, has both faces.
    """
    began = time.perf_counter()
    faces = find_faces((path for pair in pairs for path in (pair.one, pair.other)), find, progress)
    seconds = time.perf_counter() - began
    confidences = _confidences(pairs, faces)
    same = np.array([pair.same for pair in pairs])
    if not (confidences[same] >= 0).any() or not (confidences[~same] >= 0).any():
        raise InputError(
            "no genuine pair, or no impostor pair, has both faces detected; are these face pictures?"
        )
    genuine, impostor = confidences[same], confidences[~same]
    return PairScores(
        accuracy=accuracy(confidences, same, np.array([pair.fold for pair in pairs])),
        curve=roc(genuine, impostor),
        at_far=tuple(at_far(genuine, impostor, far) for far in (1e-2, 1e-3)),
        genuines=len(genuine),
        impostors=len(impostor),
        pictures=len(faces),
        pictures_without_face=tuple(sorted(path for path, face in faces.items() if face.facen is None)),
        pairs_without_face=int(np.count_nonzero(confidences == NO_FACE)),
        seconds=seconds,
    )


def _confidences(pairs: Sequence[Pair], faces: dict[Path, PictureFace]) -> Numbers:
    found = (confidence(faces[pair.one], faces[pair.other]) for pair in pairs)
    return np.array([NO_FACE if value is None else value for value in found])


def _fields(line: str) -> list[str]:
    """Split at tabs if there are any, so that names may contain spaces."""
    return [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]


def _header(file: Path, number: int, fields: list[str]) -> tuple[int, int]:
    """The number of folds, and of pairs of each kind in a fold."""
    if len(fields) in (1, 2) and all(field.isdecimal() and int(field) > 0 for field in fields):
        folds, each = (1, *map(int, fields))[-2:]
        if folds > 1 or each >= FOLDS:
            return folds, each
    raise InputError(
        f"{file}, line {number}: expected `10 300` (folds, pairs of each kind in a fold) or `2200` (pairs of "
        f"each kind, {FOLDS} or more), not {' '.join(fields)[:60]!r}"
    )


def _pair(where: str, fields: list[str], same: bool, fold: int, folder: Path) -> Pair:
    form = "name i j" if same else "name1 i name2 j"
    if len(fields) != (3 if same else 4):
        raise InputError(f"{where}: expected `{form}`, not {' '.join(fields)[:60]!r}")
    (name, first), (other, second) = (fields[0], fields[1]), (fields[-2 if not same else 0], fields[-1])
    if not (first.isdecimal() and second.isdecimal()):
        raise InputError(
            f"{where}: expected `{form}` with numbers for i and j, not {' '.join(fields)[:60]!r}"
        )
    return Pair(
        _picture(where, folder, name, int(first)), _picture(where, folder, other, int(second)), same, fold
    )


def _picture(where: str, folder: Path, name: str, number: int) -> Path:
    if "/" in name or name in ("", ".", ".."):
        raise InputError(f"{where}: {name!r} is not a valid name")
    for place in (folder / name, folder):
        for suffix in _SUFFIXES:
            path = place / f"{name}_{number:04d}{suffix}"
            if path.is_file():
                return path
    raise InputError(
        f"{where}: there is no {name}/{name}_{number:04d}.jpg in {folder} (nor .png, nor without {name}/)"
    )
