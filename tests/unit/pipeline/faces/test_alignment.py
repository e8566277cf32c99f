"""Alignment of faces to the template."""

import warnings

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.faces.alignment import TEMPLATE, align, is_whole, similarity


@given(st.floats(-180, 180), st.floats(0.2, 5), st.floats(-500, 500), st.floats(-500, 500))
def test_any_similarity_transform_is_recovered(degrees: float, scale: float, x: float, y: float) -> None:
    """The template, rotated, scaled and translated, is mapped back exactly."""
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = (TEMPLATE @ matrix.T + (x, y)).astype(np.float32)
    found = similarity(landmarks)
    np.testing.assert_allclose(landmarks @ found[:, :2].T + found[:, 2], TEMPLATE, atol=0.05)


def test_the_matrix_is_that_of_insightface() -> None:
    """For landmarks that no similarity transform fits exactly."""
    from insightface.utils.face_align import arcface_dst, estimate_norm

    np.testing.assert_array_equal(arcface_dst, TEMPLATE)
    rng = np.random.default_rng(4)
    for _ in range(20):
        landmarks = (TEMPLATE * rng.uniform(0.3, 3) + rng.normal(0, 6, (5, 2))).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = estimate_norm(landmarks)
        np.testing.assert_allclose(similarity(landmarks), expected, rtol=1e-3, atol=1e-3)


@given(st.floats(-90, 90), st.floats(0.2, 3), st.floats(-100, 300), st.floats(-100, 300))
def test_is_whole_agrees_with_the_pixels(degrees: float, scale: float, x: float, y: float) -> None:
    """In white pictures, exactly the faces that are not whole contain black pixels."""
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = (TEMPLATE @ matrix.T + (x, y)).astype(np.float32)
    corners = np.array([[0, 0], [111, 0], [0, 111], [111, 111]]) @ matrix.T + (x, y)
    assume(np.abs(np.stack([corners, (299, 249) - corners])).min() > 2)  # not on the very edge
    darkest = align(np.full((250, 300), 255, np.uint8), landmarks).min()
    assert is_whole(landmarks, 300, 250) == (darkest == 255)


def test_identical_landmarks_are_no_error() -> None:
    """Landmarks without a direction still give a picture."""
    cut = align(np.full((50, 50, 3), 7, np.uint8), np.full((5, 2), 20, np.float32))
    assert cut.shape == (112, 112, 3)
