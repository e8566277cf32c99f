"""Turning, scaling and moving a face onto the template."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alignment import TEMPLATE, align, similarity


@given(st.floats(-180, 180), st.floats(0.2, 5), st.floats(-500, 500), st.floats(-500, 500))
def test_finds_any_similarity_again(degrees: float, scale: float, x: float, y: float) -> None:
    """Landmarks that are the template turned, scaled and moved come back exactly onto it."""
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = (TEMPLATE @ matrix.T + (x, y)).astype(np.float32)
    found = similarity(landmarks)
    np.testing.assert_allclose(landmarks @ found[:, :2].T + found[:, 2], TEMPLATE, atol=0.05)


def test_agrees_with_insightface() -> None:
    """On landmarks that fit no similarity exactly, the matrix is insightface's."""
    from insightface.utils.face_align import arcface_dst, estimate_norm

    np.testing.assert_array_equal(arcface_dst, TEMPLATE)
    rng = np.random.default_rng(4)
    for _ in range(20):
        landmarks = (TEMPLATE * rng.uniform(0.3, 3) + rng.normal(0, 6, (5, 2))).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = estimate_norm(landmarks)
        np.testing.assert_allclose(similarity(landmarks), expected, rtol=1e-3, atol=1e-3)


def test_landmarks_in_one_place_are_no_error() -> None:
    """Landmarks without a direction still give a picture."""
    cut = align(np.full((50, 50, 3), 7, np.uint8), np.full((5, 2), 20, np.float32))
    assert cut.shape == (112, 112, 3)
