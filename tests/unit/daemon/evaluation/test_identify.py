"""Identification among a gallery, closed and open."""

from pathlib import Path

import numpy as np
import pytest

from daemon.evaluation.faces import LabelledFace, PictureFace
from daemon.evaluation.identify import evaluate, leave_out
from daemon.evaluation.inputs import InputError
from pipeline.faces.facen import normalise

THRESHOLDS = {"medium": 0.75}


def seen(person: str, *degrees: float | None) -> list[LabelledFace]:
    """Pictures of a person, each a direction in the plane: 0° apart is confidence 1, 60° is 0.75."""
    return [
        LabelledFace(person, PictureFace(Path(f"{person}_{angle}"), None if angle is None else facen(angle)))
        for angle in degrees
    ]


def facen(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return normalise(np.array([np.cos(angle), np.sin(angle)], np.float32))


def test_the_most_alike_picture_of_a_person_counts():
    """Anna's second picture is nearest, so she comes first though her first is far."""
    scores = evaluate([*seen("anna", 180, 10), *seen("bert", 40)], seen("anna", 0), THRESHOLDS)
    assert (scores.people, scores.known, scores.rank1) == (2, 1, 1)


def test_a_person_among_the_first_five_but_not_first():
    """Rank 5 counts the fourth place, rank 1 does not; the sixth counts for neither."""
    gallery = [item for number in range(6) for item in seen(f"p{number}", 20 * number)]
    scores = evaluate(gallery, [*seen("p3", 0), *seen("p5", 0)], THRESHOLDS)
    assert (scores.rank1, scores.rank5) == (0, 1)


def test_a_picture_is_not_compared_with_itself():
    """One folder as gallery and as probes: Anna is found by her other picture; Carl, who has but one, is a
    stranger who is like nobody."""
    folder = [*seen("anna", 0, 20), *seen("bert", 100, 110), *seen("carl", 200)]
    scores = evaluate(folder, folder, THRESHOLDS)
    assert (scores.known, scores.unknown, scores.rank1) == (4, 1, 4)
    assert scores.at_thresholds[0].false_accepts == 0


def test_equals_are_not_counted_in_our_favour():
    """Two people equally alike: the right one is not first."""
    scores = evaluate([*seen("anna", 10), *seen("bert", 10)], seen("anna", 0), THRESHOLDS)
    assert scores.rank1 == 0


def test_strangers_who_reach_the_threshold_are_false_accepts():
    """One of two strangers is within 60° of a known person; one of two known people is beyond."""
    gallery = [*seen("anna", 0), *seen("bert", 180)]
    probes = [*seen("carl", 59), *seen("dora", 90), *seen("anna", 10), *seen("bert", 110)]
    (point,) = evaluate(gallery, probes, THRESHOLDS).at_thresholds
    assert (point.false_accepts, point.unknown, point.misses, point.known) == (1, 2, 1, 2)
    assert (point.fpir, point.fnir) == (0.5, 0.5)


def test_a_probe_that_is_taken_for_another_is_a_miss_however_sure():
    """Anna faces like Bert: above the threshold, and wrong."""
    (point,) = evaluate([*seen("anna", 90), *seen("bert", 5)], seen("anna", 0), THRESHOLDS).at_thresholds
    assert point.misses == 1


def test_the_table_goes_as_low_as_the_strangers_can_show():
    """Ten strangers show FPIR 0.1 and none below; at its threshold one of them passes."""
    probes = [item for number in range(10) for item in seen(f"s{number}", 30 + 10 * number)]
    det = evaluate(seen("anna", 0), probes, THRESHOLDS).det
    assert [(point.name, point.false_accepts) for point in det] == [("FPIR 0.1", 1), ("FPIR 0", 0)]


def test_probes_and_pictures_without_a_face_are_counted():
    """A faceless probe is not found and no false accept; a faceless picture leaves the gallery."""
    gallery = [*seen("anna", 0, None), *seen("bert", None)]
    scores = evaluate(gallery, [*seen("anna", None), *seen("carl", None), *seen("bert", 0)], THRESHOLDS)
    assert (scores.gallery_without_face, scores.probes_without_face, scores.people) == (2, 2, 1)
    assert (scores.rank1, scores.known, scores.unknown) == (0, 2, 1)
    assert scores.at_thresholds[0].false_accepts == 0


def test_leaving_people_out_takes_all_their_pictures_and_always_the_same():
    """Half of four people, both pictures of each."""
    gallery = [item for name in "abcd" for item in seen(name, 0, 10)]
    left = leave_out(gallery, 0.5)
    assert len({item.person for item in left}) == 2
    assert len(left) == 4
    assert left == leave_out(gallery, 0.5)


def test_an_empty_gallery_is_said():
    """There is no one to identify."""
    with pytest.raises(InputError, match="no face in the gallery"):
        evaluate(seen("anna", None), seen("anna", 0), THRESHOLDS)
