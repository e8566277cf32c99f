"""`ctx.extractor`: extraction of faces from a picture, off the event loop."""

import asyncio
from pathlib import Path
from typing import Protocol

from pipeline.types import ExtractionFace, Picture, Quality
from store.errors import StoreError
from store.uploads.image import as_image_error

ImageSource = bytes | Path | str | Picture
"""An encoded picture, its path, or an array (height, width, 3) uint8 BGR."""


class PictureExtractor(Protocol):
    """Finds faces in a picture; implemented by `pipeline.extractor.FaceExtractor`."""

    def extract_with_quality(self, image: ImageSource) -> list[tuple[ExtractionFace, Quality]]: ...


class Extractor:
    """Runs the extractor in a thread, one picture at a time, because the models share their cores."""

    def __init__(self, extractor: PictureExtractor | None) -> None:
        self._extractor = extractor
        self._lock = asyncio.Lock()

    async def extract(self, image: ImageSource) -> list[ExtractionFace]:
        """The faces of the picture, the largest first, as data for `Faces.Model.from_extraction_face`.

        Raises:
            ImageError: it is not a picture, is damaged, cannot be read, or has too many pixels.
            StoreError: this context was opened without models.
        """
        return [face for face, _ in await self.extract_with_quality(image)]

    async def extract_with_quality(self, image: ImageSource) -> list[tuple[ExtractionFace, Quality]]:
        """As `extract`, with the components of each face's quality score."""
        if self._extractor is None:
            raise StoreError("this context was opened without models; pass an extractor to Context.open")
        async with self._lock:
            with as_image_error():
                return await asyncio.to_thread(self._extractor.extract_with_quality, image)
