"""The one face of each picture: the most central one, found and embedded as everywhere else in Facend."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PictureError
from pipeline.extractor import Extractor
from pipeline.faces import facen
from pipeline.pictures import decode as pictures
from pipeline.types import Facen, Picture, Rectangle

Progress = Callable[[int], object]
"""Told how many more pictures are done."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found in one picture."""

    path: Path
    facen: Facen | None
    """None where no face was found."""
    score: float = 0.0
    """The quality score."""
    trouble: str = ""
    """Why there is no face."""


Looker = Callable[[Path], Look]


def extracting(extractor: Extractor, max_pixels: int) -> Looker:
    """Looks with Facend's own extractor."""

    def look(path: Path) -> Look:
        try:
            picture, _ = pictures.read(path, max_pixels)
        except PictureError as error:
            return Look(path, None, trouble=str(error))
        found = extractor.extract(picture)
        if not found:
            return Look(path, None, trouble="no face found")
        face = found[most_central([face["bbox"] for face in found], picture)]
        return Look(path, facen.decode(face["facen"]), face["score"])

    return look


def look_at(paths: Iterable[Path], look: Looker, progress: Progress) -> dict[Path, Look]:
    """Every picture once, on all cores."""
    once = list(dict.fromkeys(paths))
    looks = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for result in pool.map(look, once):
                looks[result.path] = result
                progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an interrupt shall not wait for the pictures left
            raise
    return looks


def most_central(boxes: Sequence[Rectangle], picture: Picture) -> int:
    """The number of the box whose middle is nearest to the picture's."""
    middle = np.array(picture.shape[1::-1]) / 2
    return int(np.argmin([np.linalg.norm(np.array(box.centre) - middle) for box in boxes]))


def confidence(one: Look, other: Look) -> float | None:
    """How alike the two are, 0 to 1; None where a face is missing."""
    if one.facen is None or other.facen is None:
        return None
    return float(facen.confidence(float(np.dot(one.facen, other.facen))))
