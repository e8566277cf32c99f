"""`ctx.extractor`: extraction of faces from a picture, off the event loop."""

import asyncio
from pathlib import Path
from typing import Protocol

from pipeline.types import ExtractionFace, Picture, Quality
from store.errors import StoreError
from store.uploads.image import as_image_error

ImageSource = bytes | Path | str | Picture
"""An encoded picture, the path of one, or an array (height, width, 3) uint8 BGR."""


class PictureExtractor(Protocol):
    """What finds the faces; `pipeline.extractor.FaceExtractor` is one."""

    def judged(self, image: ImageSource) -> list[tuple[ExtractionFace, Quality]]: ...


class Extractor:
    """Runs the extractor in a thread, one picture at a time, because the models share their cores."""

    def __init__(self, extractor: PictureExtractor | None) -> None:
        self._extractor = extractor
        self._one_at_a_time = asyncio.Lock()

    async def extract(self, image: ImageSource) -> list[ExtractionFace]:
        """The faces of the picture, the largest first, as data for `Faces.Model.from_extraction_face`.

        Raises:
            ImageError: it is not a picture, is damaged, cannot be read, or has too many pixels.
            StoreError: this context was opened without models.
        """
        return [face for face, _ in await self.judged(image)]

    async def judged(self, image: ImageSource) -> list[tuple[ExtractionFace, Quality]]:
        """The same faces, each with the parts of its quality score. Raises as `extract`."""
        if self._extractor is None:
            raise StoreError("this context was opened without models; pass an extractor to Context.open")
        async with self._one_at_a_time:
            with as_image_error():
                return await asyncio.to_thread(self._extractor.judged, image)
