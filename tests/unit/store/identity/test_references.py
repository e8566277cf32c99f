"""Which faces a person is compared by."""

import numpy as np
import pytest

from pipeline.faces.facen import encode
from store.face import Face
from store.identity.references import redundant, shots_of
from tests.facens import like, person_facen


def face(number: int, facen: np.ndarray, score: float = -1.0) -> Face:
    return Face({"_id": number, "facen": encode(facen), "score": score})


def looks(count: int) -> list[Face]:
    """Differing looks of one person, each in a direction of its own."""
    return [face(number, like(person_facen(1), 0.8, seed=number)) for number in range(count)]


def test_differing_looks_stay_while_there_is_room() -> None:
    """Up to the limit nobody has to go."""
    assert redundant(looks(4), most=4) is None


@pytest.mark.parametrize(("score", "gone"), [(-1.2, 2), (-0.9, 2), (-0.2, 0)])
def test_of_the_same_look_the_older_stays_unless_the_new_one_is_clearly_better(
    score: float, gone: int
) -> None:
    """A picture that is nearly the same adds nothing; a much better one replaces it."""
    first, second = looks(2)
    again = face(2, like(person_facen(1), 0.8, seed=0), score)
    out = redundant([first, second, again], most=8)
    assert out is not None
    assert out["_id"] == gone


def test_of_too_many_the_poorer_of_the_most_alike_two_goes() -> None:
    """What is left differs as much as it can."""
    faces = looks(3)
    base = like(person_facen(1), 0.8, seed=0)
    faces.append(face(3, like(base, 0.9, seed=9), score=-2.0))
    out = redundant(faces, most=3)
    assert out is not None
    assert out["_id"] == 3


def test_a_face_of_an_earlier_version_has_one_shot() -> None:
    """Nothing is said about it, so nothing is claimed."""
    assert shots_of(Face({"detector_info": {"mode": "overall"}})) == 1
    assert shots_of(Face({})) == 1
    assert shots_of(Face({"detector_info": {"shots": 3}})) == 3
