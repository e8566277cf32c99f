"""LFW's pairs.txt: reading it, and judging pairs."""

from pathlib import Path

import numpy as np
import pytest

from daemon.evaluation.faces import PictureFace, most_central
from daemon.evaluation.inputs import InputError
from daemon.evaluation.pairs import Pair, evaluate, read_pairs
from pipeline.faces.facen import normalise
from pipeline.types import Rectangle


@pytest.fixture
def people(tmp_path):
    """Anna and Bert with two pictures each, as LFW names them; Carl's lie flat, as PNG."""
    for name in ("Anna", "Bert_von_B"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            (tmp_path / name / f"{name}_{number:04d}.jpg").touch()
    for number in (1, 2):
        (tmp_path / f"Carl_{number:04d}.png").touch()
    return tmp_path


def written(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_folds_have_pairs_of_one_person_and_then_of_two(people):
    """`2 1`: two folds, a pair of each kind in each."""
    file = written(
        people, "2\t1", "Anna\t1\t2", "Anna\t1\tCarl\t2", "Bert_von_B\t2\t1", "Carl\t1\tBert_von_B\t2"
    )
    pairs = read_pairs(file, people)
    assert [(pair.same, pair.fold) for pair in pairs] == [(True, 0), (False, 0), (True, 1), (False, 1)]
    assert pairs[1] == Pair(people / "Anna/Anna_0001.jpg", people / "Carl_0002.png", False, 0)
    assert pairs[2].one.name == "Bert_von_B_0002.jpg"


def test_one_set_without_folds_is_dealt_out_to_ten(people):
    """`20`: every fold gets two pairs of each kind."""
    file = written(people, "20", *["Anna 1 2"] * 20, *["Anna 1 Carl 1"] * 20)
    pairs = read_pairs(file, people)
    for fold in range(10):
        assert [pair.same for pair in pairs if pair.fold == fold] == [True, True, False, False]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["ten 300"], "line 1: expected `10 300`"),
        (["9"], "line 1: expected"),
        (["1 1", "Anna 1 2"], "line 1: expected"),
        (["2 1", "Anna 1 2"], "promises 4 pairs (2 × 2 × 1), there are 1"),
        (["2 1", "Anna 1 2", "Anna 1 2", "Anna 1 2", "Anna 1 Carl 1"], "line 3: expected `name1 i name2 j`"),
        (["2 1", "Anna 1 x", *["Anna 1 Carl 1"] * 3], "line 2: expected `name i j` with numbers"),
        (["2 1", "Anna 1 3", *["Anna 1 Carl 1"] * 3], "line 2: there is no Anna/Anna_0003.jpg"),
        (["2 1", "../x 1 2", *["Anna 1 Carl 1"] * 3], "line 2: '../x' is not a valid name"),
        ([""], "it contains no pairs"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(people, lines, told):
    """One clear line each."""
    with pytest.raises(InputError) as error:
        read_pairs(written(people, *lines), people)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """No traceback."""
    with pytest.raises(InputError, match=r"none\.txt: cannot be read"):
        read_pairs(tmp_path / "none.txt", tmp_path)


def test_a_pair_without_a_face_counts_as_not_matched():
    """It is right for two people and wrong for one person, and it is counted."""
    right, other = (normalise(np.array(vector, np.float32)) for vector in ([1, 0], [0, 1]))
    facens = {"a": right, "b": right, "c": other, "d": None}
    pairs = []
    for fold in range(3):
        pairs += [Pair(Path("a"), Path("b"), True, fold), Pair(Path("a"), Path("c"), False, fold)]
        pairs += [Pair(Path("a"), Path("d"), True, fold), Pair(Path("c"), Path("d"), False, fold)]
    done = []
    scores = evaluate(pairs, lambda path: PictureFace(path, facens[path.name]), done.append)
    assert scores.accuracy.mean == 0.75
    assert [point.tar for point in scores.at_far] == [0.5, 0.5]
    assert (scores.pictures, sum(done)) == (4, 4)
    assert scores.pictures_without_face == (Path("d"),)
    assert scores.pairs_without_face == 6


def test_a_picture_stands_for_its_most_central_face():
    """Not for the largest one, nor for the first; in a picture that is wider than high."""
    large, central, far = (
        Rectangle(x, y, x + size, y + size) for x, y, size in ((0, 0, 120), (160, 40, 30), (140, 0, 20))
    )
    assert most_central([large, central, far], np.zeros((100, 300, 3), np.uint8)) == 1
