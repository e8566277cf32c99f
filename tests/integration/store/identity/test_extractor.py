"""`ctx.extractor`: from a whole picture to stored faces."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.extractor import FaceExtractor
from pipeline.models.loader import load
from pipeline.types import Emotions, Picture, Rectangle
from store import Context, StoreError
from store.errors import BadValueError, ImageError
from tests.faces import default_models, models_dir, sample_path, six_people
from tests.integration.pipeline.faces.test_attributes import averaging_model
from tests.mongo import StoreArguments

MAX_PIXELS = 2_000_000


@pytest.fixture
async def seeing(store_settings: StoreArguments, tmp_path: Path) -> AsyncIterator[Context]:
    """A context with the default pack, and with models for gender, age and emotions."""
    redness = np.array([[0, 0, 1], [1, 0, 0], [0.002, 0, 0]])
    angry_then_sad = np.array([2.0, 0, 0, 0, 0, 1.0, 0])
    models = load(
        default_models().pack,
        models_dir(),
        genderage=averaging_model(tmp_path / "genderage.onnx", 96, redness, np.zeros(3)),
        emotions=averaging_model(tmp_path / "emotions.onnx", 112, np.zeros((7, 3)), angry_then_sad),
    )
    async with store_settings.open(extractor=FaceExtractor(models, MAX_PIXELS), facen_size=128) as ctx:
        yield ctx


async def test_bytes_a_path_and_an_array_give_the_same_faces(seeing: Context) -> None:
    """Six faces each, the largest first; the hash is that of the input."""
    path = sample_path()
    of_bytes, of_path, of_text, of_array = [
        await seeing.extractor.extract(image) for image in (path.read_bytes(), path, str(path), six_people())
    ]
    assert len(of_bytes) == 6
    assert of_bytes == of_path == of_text
    assert {face["photo_hash"] for face in of_bytes} == {_md5(path.read_bytes())}
    assert {face["photo_hash"] for face in of_array} == {_md5(six_people().tobytes())}
    for one, other in zip(of_bytes, of_array, strict=True):
        assert Rectangle(*one["bbox"]).iou(Rectangle(*other["bbox"])) > 0.9
    areas = [Rectangle(*face["bbox"]).area for face in of_bytes]
    assert areas == sorted(areas, reverse=True)


async def test_an_extracted_face_is_stored_and_found(seeing: Context) -> None:
    """The stored face has gender, age and the two most prevalent emotions; a search finds it."""
    user = await seeing.users.add({})
    await seeing.galleries.add(user, "staff")
    efaces = await seeing.extractor.extract(sample_path())
    for eface in efaces:
        assert isinstance(eface["emotions"], Emotions)
        decoded = cv2.imdecode(np.frombuffer(eface["normalized"], np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None and decoded.shape == (112, 112, 3)
        face = await seeing.faces.add(user, seeing.faces.Model.from_extraction_face(eface))
        await seeing.faces.add_to_galleries(face, ["staff"])
    for eface in efaces:
        (found,) = await seeing.faces.identify(user, "staff", eface, 1, 0.99)
        view = found.face.as_object()
        assert view["emotions"] == eface["emotions"].prevalent() == ("angry", "sad")
        assert (view["gender"], view["age"]) == (eface["gender"], pytest.approx(eface["age"]))
        assert (view["gender"], view["score"]) == ("male", pytest.approx(eface["score"]))
        assert (view["bbox"], view["photo_hash"]) == (eface["bbox"], eface["photo_hash"])


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (b"", "no bytes"),
        (b"\x00\x01" * 500, "not a picture"),
        (sample_path().read_bytes()[:20_000], "damaged or cut short"),
        (np.zeros((1500, 1500, 3), np.uint8), "the limit is 2000000"),
        (np.zeros((9, 9, 3), np.float32), "float32"),
        (Path("/nowhere/face.jpg"), "/nowhere/face.jpg"),
        (None, "NoneType"),
    ],
)
async def test_an_invalid_picture_is_an_image_error(
    seeing: Context, image: bytes | Path | Picture, hint: str
) -> None:
    """Which is a BadValueError, as for every invalid argument."""
    with pytest.raises(ImageError, match=hint) as raised:
        await seeing.extractor.extract(image)
    assert isinstance(raised.value, BadValueError)


async def test_extraction_does_not_block_the_event_loop(seeing: Context) -> None:
    """The loop runs during the extraction."""
    turns = 0
    task = asyncio.create_task(seeing.extractor.extract(sample_path()))
    while not task.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert len(await task) == 6
    assert turns > 5


async def test_extraction_without_models_is_an_error(ctx: Context) -> None:
    """The error has the remedy."""
    with pytest.raises(StoreError, match="without models"):
        await ctx.extractor.extract(sample_path())


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
