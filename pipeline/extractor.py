"""Extracts the faces from still pictures, as `ctx.extractor.extract()`."""

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.faces import facen
from pipeline.faces.alignment import align
from pipeline.faces.detector import Detector
from pipeline.faces.quality import assess
from pipeline.faces.refine import refine
from pipeline.limits import MAX_PIXELS
from pipeline.models.loader import Models
from pipeline.pictures import decode as pictures
from pipeline.types import Detection, ExtractionFace, Picture, Quality

_LONG_SIDES = (640, 1280)
"""Sizes of the longer side at which a picture is searched: the first finds faces that fill it, the second
distant ones. Together they find faces from about 1/100 of the longer side."""

_SAME_FACE = 0.6
"""Minimum overlap of two boxes of one face, as a share of the smaller box."""


class FaceExtractor:
    """Extracts faces from still pictures. Thread-safe."""

    def __init__(self, models: Models, max_pixels: int = MAX_PIXELS, min_score: float = 0.6) -> None:
        """`min_score`: minimum detector score of a face."""
        self._models = models
        self._max_pixels = max_pixels
        self._min_score = min_score

    def extract(self, image: bytes | Path | str | Picture) -> list[ExtractionFace]:
        """Extract the faces of a picture, the largest first.

        `image` is the bytes of a picture file, the path of one, or a BGR array (height, width, 3) uint8.
        `photo_hash` is the md5 of these bytes, or of the array's.

        Raises:
            PictureError: the input is not a picture, is damaged, or has more pixels than the limit.
        """
        return [face for face, _ in self.extract_with_quality(image)]

    def extract_with_quality(
        self, image: bytes | Path | str | Picture
    ) -> list[tuple[ExtractionFace, Quality]]:
        """Like `extract`, with the parts of each quality score."""
        original: bytes | memoryview
        if isinstance(image, bytes | Path | str):
            picture, original = pictures.read(image, self._max_pixels)
        else:
            picture = pictures.check_array(image, self._max_pixels)
            original = np.ravel(picture).data
        found = [face for face in find_faces(self._models.detector, picture) if face.score >= self._min_score]
        if not found:
            return []
        photo_hash = hashlib.md5(original, usedforsecurity=False).hexdigest()
        return self._faces(picture, found, photo_hash)

    def _faces(
        self, picture: Picture, found: list[Detection], photo_hash: str
    ) -> list[tuple[ExtractionFace, Quality]]:
        luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        near = self._models.near_detector
        full = max(luma.shape) <= _LONG_SIDES[-1]
        exact = [refine(near, luma, face, found_in_full=full) for face in found] if near else found
        aligned = [align(picture, face.landmarks) for face in exact]
        facens = self._models.embedder.embed(aligned)
        faces = []
        model = self._models.recognisability
        for detection, cut, vector in zip(exact, aligned, facens, strict=True):
            log_odds = None if model is None else model.log_odds(luma, detection)
            quality = assess(luma, detection, log_odds)
            face = ExtractionFace(
                bbox=detection.bbox,
                normalized=pictures.png(cut),
                score=quality.score,
                photo_hash=photo_hash,
                facen=facen.encode(vector),
            )
            self._describe(face, picture, cut)
            faces.append((face, quality))
        return faces

    def _describe(self, face: ExtractionFace, picture: Picture, aligned: Picture) -> None:
        if self._models.attributes is None:
            return
        attributes = self._models.attributes.describe(picture, face["bbox"], aligned)
        if attributes.gender is not None:
            face["gender"] = attributes.gender
        if attributes.age is not None:
            face["age"] = attributes.age
        if attributes.emotions is not None:
            face["emotions"] = attributes.emotions


def find_faces(detector: Detector, picture: Picture) -> list[Detection]:
    """Detect the faces of a still picture at several sizes; in pixels of the picture, the largest first."""
    height, width = picture.shape[:2]
    longer = max(width, height)
    sides = [side for side in _LONG_SIDES if side < longer]
    if len(sides) < len(_LONG_SIDES):
        sides.append(longer)
    faces: list[Detection] = []
    for side in sides:
        size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if side < longer else picture
        found = detector.detect(np.asarray(small, dtype=np.uint8))
        faces += [scaled(face, width / size[0], height / size[1]) for face in found]
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_is_same(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.bbox.area)


def scaled(face: Detection, x: float, y: float) -> Detection:
    """The detection in a picture scaled by x and y."""
    return replace(face, bbox=face.bbox.scaled(x, y), landmarks=(face.landmarks * (x, y)).astype(np.float32))


def moved(face: Detection, x: float, y: float) -> Detection:
    """The detection translated by (x, y), from a cut-out to the whole picture."""
    landmarks = face.landmarks + np.array([x, y], np.float32)
    return replace(face, bbox=face.bbox.moved(x, y), landmarks=landmarks)


def _is_same(one: Detection, other: Detection) -> bool:
    smaller = min(one.bbox.area, other.bbox.area)
    return smaller <= 0 or one.bbox.intersection(other.bbox).area / smaller > _SAME_FACE
