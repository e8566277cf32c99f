"""The selection of a person's references."""

import numpy as np
import pytest

from pipeline.faces.facen import encode
from store.face import Face
from store.face_fields import facen_of
from store.identity.references import redundant, shots_of
from tests.facens import like, person_facen


def face(number: int, facen: np.ndarray, score: float = -1.0) -> Face:
    return Face({"_id": number, "facen": encode(facen), "score": score})


def looks(count: int) -> list[Face]:
    """Differing looks of one person, each in a direction of its own."""
    return [face(number, like(person_facen(1), 0.8, seed=number)) for number in range(count)]


def test_keeps_distinct_references_up_to_the_maximum() -> None:
    """None is removed below the maximum."""
    assert redundant(looks(4), max_count=4) is None


@pytest.mark.parametrize(("score", "gone"), [(-1.2, 2), (-0.9, 2), (-0.2, 0)])
def test_replaces_a_similar_reference_only_by_a_better_one(score: float, gone: int) -> None:
    """A similar face is not added; a much better one replaces it."""
    first, second = looks(2)
    again = face(2, like(person_facen(1), 0.8, seed=0), score)
    out = redundant([first, second, again], max_count=8)
    assert out is not None
    assert out["_id"] == gone


def test_removes_the_poorer_of_the_two_most_similar() -> None:
    """Above the maximum, so that the rest differ as much as possible."""
    faces = looks(3)
    base = like(person_facen(1), 0.8, seed=0)
    faces.append(face(3, like(base, 0.9, seed=9), score=-2.0))
    out = redundant(faces, max_count=3)
    assert out is not None
    assert out["_id"] == 3


def seen(number: int, facen: np.ndarray, **measures: float) -> Face:
    """A face of the same quality, with measures of its view."""
    return Face({**face(number, facen), "detector_info": {"quality": measures}})


@pytest.mark.parametrize(
    ("measure", "usual", "other"),
    [("brightness", 120.0, 30.0), ("yaw_degrees", 0.0, -50.0), ("pitch_degrees", 0.0, 55.0)],
)
def test_the_only_reference_of_a_pose_or_light_stays(measure: str, usual: float, other: float) -> None:
    """Of too many, one of two in the same view goes, though one in another view is a little more similar."""
    base = person_facen(1)
    faces = [
        seen(1, base, **{measure: usual}),
        seen(2, like(base, 0.80, seed=2), **{measure: other}),
        seen(3, like(base, 0.75, seed=3), **{measure: usual}),
    ]
    out = redundant(faces, max_count=2)
    assert out is not None
    assert out["_id"] == 3
    plain = redundant([face(one["_id"], facen_of(one)) for one in faces], max_count=2)
    assert plain is not None
    assert plain["_id"] == 2


@pytest.mark.parametrize(
    "info", [None, {"quality": "good"}, {"quality": {"brightness": 0, "yaw_degrees": "left"}}]
)
def test_a_view_that_was_not_measured_differs_from_none(info: object) -> None:
    """Faces of earlier versions, and damaged ones, are compared by their facens alone."""
    faces = [Face({**one, "detector_info": info}) for one in looks(3)]
    faces.append(face(3, like(person_facen(1), 0.8, seed=0), score=-2.0))
    out = redundant(faces, max_count=3)
    assert out is not None
    assert out["_id"] == 3


def test_a_face_of_an_earlier_version_has_one_shot() -> None:
    """Its document has no number of shots."""
    assert shots_of(Face({"detector_info": {"mode": "overall"}})) == 1
    assert shots_of(Face({})) == 1
    assert shots_of(Face({"detector_info": {"shots": 3}})) == 3
