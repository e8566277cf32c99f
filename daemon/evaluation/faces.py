"""The most central face of each picture, found and embedded as in the daemon."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.config.settings import Settings
from daemon.evaluation.inputs import LabelledPicture
from pipeline.errors import PictureError
from pipeline.extractor import FaceExtractor
from pipeline.faces import facen
from pipeline.models.loader import Models
from pipeline.pictures import decode as picture_files
from pipeline.types import Facen, Picture, Rectangle

Progress = Callable[[int], object]
"""Called with the number of pictures finished since the previous call."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureFace:
    """The face of one picture."""

    path: Path
    facen: Facen | None
    """None if no face was found."""
    score: float = 0.0
    """The quality score."""
    trouble: str = ""
    """Why there is no face."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFace:
    """A face whose person is known."""

    person: str
    face: PictureFace


FaceFinder = Callable[[Path], PictureFace]


def facend_finder(extractor: FaceExtractor, max_pixels: int) -> FaceFinder:
    """Finds faces with Facend's own extractor."""

    def find(path: Path) -> PictureFace:
        try:
            picture, _ = picture_files.read(path, max_pixels)
        except PictureError as error:
            return PictureFace(path, None, trouble=str(error))
        found = extractor.extract(picture)
        if not found:
            return PictureFace(path, None, trouble="no face found")
        face = found[most_central([face["bbox"] for face in found], picture)]
        return PictureFace(path, facen.decode(face["facen"]), face["score"])

    return find


def find_faces(paths: Iterable[Path], find: FaceFinder, progress: Progress) -> dict[Path, PictureFace]:
    """The face of every picture, each picture once, on all cores."""
    once = list(dict.fromkeys(paths))
    faces = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for result in pool.map(find, once):
                faces[result.path] = result
                progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # do not finish the queue after an interrupt
            raise
    return faces


def most_central(boxes: Sequence[Rectangle], picture: Picture) -> int:
    """The index of the box whose centre is nearest to the centre of the picture."""
    middle = np.array(picture.shape[1::-1]) / 2
    return int(np.argmin([np.linalg.norm(np.array(box.centre) - middle) for box in boxes]))


def confidence(one: PictureFace, other: PictureFace) -> float | None:
    """The confidence of the two faces, 0 to 1; None if one is missing."""
    if one.facen is None or other.facen is None:
        return None
    return float(facen.confidence(float(np.dot(one.facen, other.facen))))


def labelled_faces(
    pictures: Sequence[LabelledPicture], models: Models, settings: Settings, progress: Progress
) -> list[LabelledFace]:
    """The most central face of each picture, found with Facend's own models."""
    max_pixels = settings.pipeline.max_pixels
    find = facend_finder(FaceExtractor(models, max_pixels), max_pixels)
    faces = find_faces((picture.path for picture in pictures), find, progress)
    return [LabelledFace(picture.person, faces[picture.path]) for picture in pictures]


def thresholds_of(models: Models, settings: Settings, persons: int | None = None) -> dict[str, float]:
    """The pack's thresholds by name, strictest first, and the threshold of the settings.

    `persons`: the number of persons in the gallery, for the automatic threshold.
    """
    limits = models.pack.thresholds
    named = {name: limits.named(name) for name in ("strict", "medium", "low")}
    if isinstance(settings.persons.threshold, float):
        named["settings"] = settings.persons.threshold
    elif settings.persons.threshold == "auto" and persons is not None:
        named["auto"] = limits.for_gallery(persons, settings.persons.fpir)
    return named


def missing_face_lines(faces: Sequence[LabelledFace]) -> list[str]:
    """A line for each picture without a usable face."""
    return [
        item.face.trouble
        if str(item.face.path) in item.face.trouble
        else f"{item.face.path}: {item.face.trouble}"
        for item in faces
        if item.face.facen is None
    ]
