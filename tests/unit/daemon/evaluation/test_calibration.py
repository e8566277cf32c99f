"""Calibration: all pairs, suggestions with their warrant, error versus discard, and what is written."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.evaluation import calibration_report, curves
from daemon.evaluation.calibration import check_labels, compare, oddities, suggest
from daemon.evaluation.discard import SHARES, discard_curve, starting_threshold
from daemon.evaluation.faces import LabelledFace, PictureFace
from daemon.evaluation.inputs import InputError, LabelledPicture
from daemon.evaluation.rates import roc
from pipeline.faces.facen import normalise


def people(number: int, pictures: int, spread: float = 0.1, size: int = 32) -> list[LabelledFace]:
    """Made-up people: random directions, each picture a little off; a poorer one is farther off."""
    chance = np.random.default_rng(3)
    faces = []
    for person in range(number):
        middle = chance.normal(size=size)
        for picture in range(pictures):
            off = spread * (1 + picture)
            facen = normalise((middle + off * chance.normal(size=size)).astype(np.float32))
            faces.append(
                LabelledFace(f"p{person}", PictureFace(Path(f"p{person}_{picture}"), facen, score=-off))
            )
    return faces


def faceless(person: str) -> LabelledFace:
    return LabelledFace(person, PictureFace(Path(f"{person}_x"), None, trouble="no face found"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["anna_1.jpg", "anna_2.jpg"], "2 pictures, of 1 person; at least two people"),
        (["anna_1.jpg", "bert_1.jpg"], "2 pictures, of 2 people; at least two people"),
        (["anna_1.jpg"] * 5001, "there are 5001 pictures; at most 5000"),
    ],
)
def test_labels_that_cannot_be_compared_are_told_before_any_picture_is_looked_at(names, told):
    """By the names alone: a minute saved, or an hour."""
    with pytest.raises(InputError, match=told):
        check_labels([LabelledPicture(Path(name), name.partition("_")[0]) for name in names])


def test_every_picture_is_compared_with_every_other_one_once():
    """Four people with three pictures: 12 pairs of one person, 54 of two; faceless pictures have none."""
    compared = compare([*people(4, 3), faceless("p0")])
    assert (len(compared.genuine), len(compared.impostor)) == (12, 54)
    for pairs, same in ((compared.genuine_pairs, True), (compared.impostor_pairs, False)):
        owners = [[compared.faces[at].person for at in pair] for pair in pairs]
        assert all((one == other) is same for one, other in owners)
    first = (
        compared.faces[compared.genuine_pairs[0, 0]].face,
        compared.faces[compared.genuine_pairs[0, 1]].face,
    )
    assert compared.genuine[0] == pytest.approx((1 + float(np.dot(first[0].facen, first[1].facen))) / 2)


@pytest.mark.parametrize("faces", [[], people(1, 5), people(5, 1), [faceless("a"), faceless("b")]])
def test_too_few_pictures_are_said(faces):
    """One person alone, or one picture each, gives only one kind of pair."""
    with pytest.raises(InputError, match=f"pictures with a face among {len(faces)}, .* at least two people"):
        compare(faces)


def test_a_suggestion_keeps_the_rate_and_rounding_keeps_it_too():
    """The rounded threshold accepts no more impostors than the measured one."""
    compared = compare(people(40, 3))
    suggestion = suggest(compared, 1e-2)
    assert suggestion.point.far <= 1e-2
    assert 0 <= suggestion.threshold - suggestion.point.threshold < 1e-4
    assert (compared.impostor >= suggestion.threshold).mean() <= 1e-2


def test_a_rate_that_the_pairs_cannot_demonstrate_is_not_suggested():
    """Forty people with three pictures give 7,020 impostor pairs: enough for 1e-3, not for 1e-4."""
    compared = compare(people(40, 3))
    suggestions = [suggest(compared, far) for far in (1e-3, 1e-4)]
    assert [suggestion.carried for suggestion in suggestions] == [True, False]
    lax = calibration_report.suggestion_text(suggestions, compared, "pack", medium=0.99)
    assert 'threshold = "auto"' in lax and "NOT DEMONSTRATED: 7020 impostor pairs" in lax
    strict = calibration_report.suggestion_text(suggestions, compared, "pack", medium=0.1)
    assert f"\nthreshold = {suggestions[0].threshold:.4f}\n" in strict
    carried = calibration_report.suggestion_text(suggestions[:1], compared, "pack", medium=0.99)
    assert f"\nthreshold = {suggestions[0].threshold:.4f}\n" in carried


def test_a_wrong_label_comes_first_among_the_oddities():
    """Two pictures of one person under two names are the most alike of all strangers."""
    faces = people(6, 3)
    faces.append(LabelledFace("somebody else", PictureFace(Path("wrong"), faces[0].face.facen, 0)))
    alike, unlike = oddities(compare(faces))
    assert {alike[0].one.face.path, alike[0].other.face.path} == {Path("wrong"), Path("p0_0")}
    assert unlike[0].one.person == unlike[0].other.person


def test_discarding_by_a_score_that_knows_lowers_the_error_to_nothing():
    """The missed pairs are those of poor quality: the curve falls and ends at 0."""
    genuine = np.linspace(0.5, 1, 100)
    curve = discard_curve("", genuine, quality=genuine, threshold=0.6)
    assert curve.fnmr[0] == pytest.approx(0.2)
    assert curve.largest_rise == 0
    assert curve.fnmr[-1] == 0


def test_discarding_by_a_score_that_misleads_raises_the_error():
    """The best pairs go first: the curve says so."""
    genuine = np.linspace(0.5, 1, 100)
    curve = discard_curve("", genuine, quality=-genuine, threshold=0.6)
    assert curve.largest_rise == pytest.approx(0.2)
    assert curve.fnmr[-1] == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-9, 0)), min_size=2, max_size=60))
def test_the_discard_curve_is_what_counting_gives(pairs):
    """At each share, the rate among the pairs that are left, whatever the order they came in."""
    genuine, quality = (np.array(part) for part in zip(*pairs, strict=True))
    curve = discard_curve("", genuine, quality, 0.5)
    ranked = [confidence for confidence, _ in sorted(pairs, key=lambda pair: pair[1])]
    for share, rate in zip(curve.discarded, curve.fnmr, strict=True):
        left = ranked[math.floor(share * len(ranked)) :]
        assert rate == pytest.approx(sum(confidence < 0.5 for confidence in left) / len(left))
    assert curve.discarded == SHARES


def test_the_starting_threshold_misses_the_share_that_is_wanted():
    """5 of 100 pairs lie below it."""
    genuine = np.linspace(0, 1, 100)
    assert (genuine < starting_threshold(genuine)).sum() == 5


def test_the_diagrams_show_their_curves_and_can_be_opened(tmp_path):
    """Each is a picture with more of the curve's colour on it than the legend has."""
    compared = compare(people(10, 3, spread=0.6))
    curve = roc(compared.genuine, compared.impostor)
    middle = float(np.median(compared.genuine))
    drawn = [
        curves.roc_picture(curve, len(compared.impostor)),
        curves.det_picture(curve, len(compared.impostor), len(compared.genuine)),
        curves.histogram_picture(compared.genuine, compared.impostor, [("medium", 0.75)]),
        curves.discard_picture([discard_curve("x", compared.genuine, compared.genuine_quality, middle)]),
    ]
    for picture in drawn:
        assert picture.size == (900, 640)
        inside = np.asarray(picture)[60:560, 100:860].reshape(-1, 3).astype(int)
        blue = (inside[:, 2] - inside[:, 0] > 60).sum()
        assert blue > 400
    curves.save(drawn[0], tmp_path / "roc.png")
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot be written"):
        curves.save(drawn[0], tmp_path / "none" / "roc.png")
