"""Enrolment: the persons of a folder, and the main face of a picture."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from pipeline.faces.facen import confidence
from pipeline.types import ExtractionFace, Facen, Rectangle
from store.identity.enrolment import unlike_others
from store.identity.enrolment_examination import NoMainFaceError, main_face
from store.identity.enrolment_folder import EnrolmentPicture, person_key, pictures_in


def seen(width: float, height: float = 100.0) -> ExtractionFace:
    box = Rectangle(10, 10, 10 + width, 10 + height)
    return ExtractionFace(bbox=box, normalized=b"", score=0.0, photo_hash="")


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_sub_folders_are_people(tmp_path: Path) -> None:
    """A picture at any depth below a sub-folder belongs to its person; one beside the sub-folders is named by
    its file name."""
    files(tmp_path, "IMG_1.jpg", "Bob_2.jpg", "Ann/2.jpg", "Ann/1.jpg", "Ann/old/0.jpg")
    assert pictures_in(tmp_path).pictures == (
        EnrolmentPicture(tmp_path / "Ann/1.jpg", "Ann/1.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "Ann/2.jpg", "Ann/2.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "Ann/old/0.jpg", "Ann/old/0.jpg", "Ann"),
        EnrolmentPicture(tmp_path / "Bob_2.jpg", "Bob_2.jpg", "Bob"),
        EnrolmentPicture(tmp_path / "IMG_1.jpg", "IMG_1.jpg"),
    )


def test_files_of_servers_and_desktops_are_left_out_and_counted(tmp_path: Path) -> None:
    """At every depth, in any letter case; none of them is a person or a picture."""
    junk = {
        "@eaDir": ["@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "Ann/@eaDir/2.jpg", "Ann/old/@eaDir/3.jpg"],
        "__MACOSX": ["__MACOSX/Ann/._1.jpg"],
        ".thumbnails": [".thumbnails/1.jpg", "Ann/.thumbnails/2.jpg"],
        "Thumbs.db": ["Thumbs.db", "Ann/Thumbs.db"],
        ".DS_Store": [".DS_Store", "Ann/.DS_Store"],
        "._*": ["Ann/._1.jpg"],
        "desktop.ini": ["Ann/desktop.ini"],
        "#recycle": ["#recycle/Bob/1.jpg"],
        "*.xmp": ["Ann/1.xmp"],
        ".hidden.jpg": [".hidden.jpg"],
        "@SynoResource": ["@SynoResource", "Ann/@SynoResource/1.jpg"],
        "1.jpg@SynoEAStream": ["Ann/1.jpg@SynoEAStream"],
        "~snapshot": ["~snapshot/Ann/1.jpg"],
        "RECYCLER": ["RECYCLER/1.jpg"],
        "FOUND.000": ["FOUND.000/1.jpg"],
        "thumbs": ["Ann/thumbs/1.jpg"],
        "1.jpg~": ["Ann/1.jpg~"],
        "*.json": ["Ann/1.jpg.json"],
    }
    files(tmp_path, "Ann/1.jpg", *(name for names in junk.values() for name in names))
    contents = pictures_in(tmp_path)
    assert [picture.label for picture in contents.pictures] == ["Ann/1.jpg"]
    assert contents.ignored == {name: len(names) for name, names in junk.items()}


def test_spellings_of_a_name_are_one_person(tmp_path: Path) -> None:
    """Composed and decomposed, in any letter case, with any spaces or typographic variants."""
    names = ["Zoë", "Zoe\u0308", "ZOË", "zoë ", " Zoë"]
    files(tmp_path, *(f"{name}/{number}.jpg" for number, name in enumerate(names)), "zoe\u0308_2.jpg")
    files(tmp_path, "Straße/1.jpg", "STRASSE/2.jpg", "Ann  Lee/1.jpg", "ann lee/2.jpg", "Ann_Lee.jpg")
    files(
        tmp_path, "Ann\u200b Lee\u200e/3.jpg", "Ann_Lee/4.jpg", "Ann Lee./5.jpg", "\ufeffAnn\u00a0Lee/6.jpg"
    )
    files(tmp_path, "O\u2019Neil/1.jpg", "o'neil/2.jpg", "\u0130PEK/1.jpg", "ipek/2.jpg")
    files(tmp_path, "Eva\u2011Maria/1.jpg")
    files(tmp_path, "eva-maria/2.jpg")
    contents = pictures_in(tmp_path)
    assert sorted(contents.persons.values()) == [2, 2, 2, 2, 6, 7]
    assert len({person_key(name) for name in names}) == 1
    assert all(name == unicodedata.normalize("NFC", name).strip() for name in contents.persons)


@pytest.mark.parametrize(
    ("file", "person"),
    [
        *(("Ann.jpg", "Ann"), ("Ann_1.jpg", "Ann"), ("Ann-03.png", "Ann"), ("Ann Lee (2).jpg", "Ann Lee")),
        *(
            ("Ann_Lee_12.jpg", "Ann Lee"),
            ("Ann1.jpg", "Ann"),
            ("Ann copy.jpg", "Ann"),
            ("李雷_1.jpg", "李雷"),
        ),
        *(("O'Neil.jpg", "O'Neil"), ("Camilla.jpg", "Camilla"), ("Newton.jpg", "Newton"), ("Ed.jpg", "Ed")),
        *(("IMG_1234.jpg", None), ("1.jpg", None), ("DSC00012.JPG", None), ("20260101_120000.jpg", None)),
        *(("PXL_20260101_120000123.jpg", None), ("front.jpg", None), ("left profile 2.jpg", None)),
        *(("WhatsApp Image 2026-01-01 at 12.00.00.jpg", None), ("image00001.jpeg", None), ("a.jpg", None)),
        *(("_MG_0001.jpg", None), ("CIMG0001.jpg", None), ("download (1).jpg", None)),
        *(("9f86d081884c7d65.jpg", None), ("550e8400-e29b-41d4-a716-446655440000.jpg", None)),
    ],
)
def test_a_picture_in_no_sub_folder_is_named_by_its_file_or_else_its_folder(
    tmp_path: Path, file: str, person: str | None
) -> None:
    """Alone, or in the folder that is given; with sub-folders beside it, the folder is no person's."""
    folder = files(tmp_path / "Bea", file)
    expected = person or "Bea"
    assert [one.person for one in pictures_in(folder).pictures] == [expected]
    assert [one.person for one in pictures_in(folder / file).pictures] == [expected]
    assert [one.person for one in pictures_in(folder, "folder").pictures] == ["Bea"]
    assert [one.person for one in pictures_in(folder, "none").pictures] == [None]
    assert pictures_in(folder / file).with_name(" Zoe\u0308 ").persons == {"Zoë": 1}
    files(folder, "Cleo/1.jpg")
    assert [one.person for one in pictures_in(folder).pictures if one.label == file] == [person]


def test_a_folder_that_is_given_by_its_relation_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder, and the one above."""
    files(tmp_path / "Bea", "1.jpg", "cut/2.jpg")
    monkeypatch.chdir(tmp_path / "Bea" / "cut")
    assert pictures_in(Path()).persons == {"cut": 1}
    assert pictures_in(Path("../1.jpg")).persons == {"Bea": 1}


def directions(*angles: float) -> list[Facen]:
    """Unit vectors at these angles in degrees; confidence falls with the angle between two."""
    radians = np.radians(angles)
    return list(np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32))


@pytest.mark.parametrize(
    ("angles", "trusted", "doubtful"),
    [
        ([0], [], []),
        ([0, 5, 10], [], []),
        ([0, 90, 5], [], [1]),
        ([0, 5, 90, 95, 3], [], [2, 3]),
        ([0, 90], [], [0, 1]),
        ([0, 90], [1], [0]),
        ([0, 3, 90, 95], [], [0, 1, 2, 3]),
        ([0, 3, 5, 90], [3], [0, 1, 2]),
        ([0, 20, 40, 60, 80], [], []),
    ],
)
def test_pictures_unlike_the_others_are_found(
    angles: list[float], trusted: list[int], doubtful: list[int]
) -> None:
    """The enrolled ones say who the person is, else the majority; a chain of alike pictures is one person."""
    alike = float(confidence(np.cos(np.radians(30.0))))
    found = unlike_others(directions(*angles), [place in trusted for place in range(len(angles))], alike)
    assert sorted(found) == doubtful
    assert all(value < alike for value in found.values())


def test_the_main_face_is_clearly_the_largest() -> None:
    """One with twice the area of any other; otherwise there is no main face."""
    assert main_face([seen(40)]) == seen(40)
    assert main_face([seen(50), seen(100), seen(20)]) == seen(100)
    with pytest.raises(NoMainFaceError, match="2 faces"):
        main_face([seen(100), seen(51)])
    with pytest.raises(NoMainFaceError, match="no face"):
        main_face([])
