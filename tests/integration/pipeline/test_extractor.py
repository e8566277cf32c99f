"""Extraction of faces from still pictures."""

import hashlib
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import PictureError
from pipeline.extractor import FaceExtractor
from pipeline.faces.facen import decode
from pipeline.models.loader import Models
from tests.faces import portrait, sample_path, six_faces


@pytest.fixture(scope="module")
def extractor(models: Models) -> FaceExtractor:
    return FaceExtractor(models)


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, picture)[1])


def test_all_faces_are_extracted_with_all_fields(extractor: FaceExtractor) -> None:
    """Six people: six faces with box, aligned PNG, facen, score and the hash of the file."""
    data = sample_path().read_bytes()
    faces = extractor.extract(data)
    assert len(faces) == 6
    for face in faces:
        assert max(face["bbox"].iou(known.bbox) for known in six_faces()) > 0.9
        assert face["photo_hash"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
        assert -5 < face["score"] < 0
        aligned = cv2.imdecode(np.frombuffer(face["normalized"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert aligned is not None and aligned.shape == (112, 112, 3)
        assert face["normalized"].startswith(b"\x89PNG")
        assert decode(face["facen"], 128) is not None
        assert "gender" not in face and "emotions" not in face
    areas = [face["bbox"].area for face in faces]
    assert areas == sorted(areas, reverse=True)


def test_bytes_path_and_array_have_the_same_faces(extractor: FaceExtractor, tmp_path: Path) -> None:
    """The same picture, however it is given, has the same faces."""
    person = portrait(2, 80)
    data = encoded(person, ".png")
    path = tmp_path / "person.png"
    path.write_bytes(data)
    results = [
        extractor.extract(image) for image in (data, path, str(path), person, person[:, ::-1][:, ::-1])
    ]
    assert [len(faces) for faces in results] == [1] * 5
    assert len({faces[0]["facen"] for faces in results}) == 1
    assert results[3][0]["photo_hash"] == results[4][0]["photo_hash"]


def test_photos_are_rotated_by_their_exif_orientation(extractor: FaceExtractor) -> None:
    """A photo that lies and says so in its EXIF data has the faces of the upright one."""
    lying = Image.fromarray(cv2.cvtColor(np.rot90(portrait(2, 80)).copy(), cv2.COLOR_BGR2RGB))
    exif = Image.Exif()
    exif[0x0112] = 6  # show it turned clockwise by 90 degrees
    data = io.BytesIO()
    lying.save(data, "JPEG", exif=exif, quality=95)
    (face,) = extractor.extract(data.getvalue())
    assert face["score"] > -2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_common_formats_are_supported(extractor: FaceExtractor, suffix: str) -> None:
    """What cameras and people send can be read."""
    assert len(extractor.extract(encoded(portrait(2, 80), suffix))) == 1


def test_grey_pictures_are_supported(extractor: FaceExtractor) -> None:
    """As a file and as an array."""
    grey = cv2.cvtColor(portrait(2, 80), cv2.COLOR_BGR2GRAY)
    assert len(extractor.extract(encoded(grey, ".png"))) == 1
    assert len(extractor.extract(np.asarray(grey, np.uint8))) == 1


def test_a_picture_of_one_pixel_has_no_face(extractor: FaceExtractor) -> None:
    """And raises no error."""
    assert extractor.extract(encoded(np.zeros((1, 1, 3), np.uint8), ".png")) == []


def _png_of(width: int, height: int) -> bytes:
    """A PNG that says it is this large and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (b"", "no bytes"),
        (b"\x00\x01" * 500, "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (sample_path().read_bytes()[:20_000], "damaged or cut short"),
        (_png_of(9000, 9000), "limit"),
        (_png_of(200_000, 200_000), "limit"),
        (np.zeros((9, 9, 3), np.float32), "float32"),
        (np.zeros((9, 9, 4), np.uint8), "shape"),
        (np.zeros((0, 9, 3), np.uint8), "at least 1 × 1"),
        ("/nowhere/face.jpg", "/nowhere/face.jpg"),
        (None, "NoneType"),
    ],
)
def test_an_unusable_picture_is_a_picture_error(extractor: FaceExtractor, image: bytes, hint: str) -> None:
    """Empty, truncated, not a picture, too large, or of a wrong type."""
    with pytest.raises(PictureError, match=hint):
        extractor.extract(image)


def test_the_pixel_limit_is_checked_before_decoding(models: Models) -> None:
    """A picture over the limit is refused by its header; one pixel less is not."""
    data = encoded(np.zeros((40, 50, 3), np.uint8), ".png")
    assert FaceExtractor(models, max_pixels=2000).extract(data) == []
    with pytest.raises(PictureError, match="50 × 40 pixels; the limit is 1999"):
        FaceExtractor(models, max_pixels=1999).extract(data)
