"""Which pictures of a folder are enrolled, and whose face in a picture is meant."""

from pathlib import Path

import pytest

from pipeline.types import ExtractionFace, Rectangle
from store.identity.enrolment import EnrolmentPicture, NoMainFaceError, main_face, pictures_in


def seen(width: float, height: float = 100.0) -> ExtractionFace:
    box = Rectangle(10, 10, 10 + width, 10 + height)
    return ExtractionFace(bbox=box, normalized=b"", score=0.0, photo_hash="")


def test_sub_folders_are_people(tmp_path: Path) -> None:
    """A picture below a sub-folder is that person's, however deep it lies; one beside it is nobody's."""
    for name in (
        "b.jpg",
        "Ann/2.jpg",
        "Ann/1.jpg",
        "Ann/old/0.jpg",
        ".hidden.jpg",
        "Ann/.DS_Store",
        ".git/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert pictures_in(tmp_path) == [
        EnrolmentPicture(tmp_path / "Ann/1.jpg", "Ann/1.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "Ann/2.jpg", "Ann/2.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "Ann/old/0.jpg", "Ann/old/0.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "b.jpg", "b.jpg"),
    ]


def test_the_main_face_is_clearly_the_largest() -> None:
    """One with twice the area of any other is meant; otherwise nobody can say who is."""
    assert main_face([seen(40)]) == seen(40)
    assert main_face([seen(50), seen(100), seen(20)]) == seen(100)
    with pytest.raises(NoMainFaceError, match="2 faces"):
        main_face([seen(100), seen(51)])
    with pytest.raises(NoMainFaceError, match="no face"):
        main_face([])
