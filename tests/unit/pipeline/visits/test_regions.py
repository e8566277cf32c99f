"""Regions in fractions of the picture."""

import pytest

from pipeline.errors import RegionError
from pipeline.visits.regions import EVERYWHERE, Region


def test_a_region_without_shapes_contains_every_point() -> None:
    """Also outside the picture."""
    assert Region.from_shapes([]) == EVERYWHERE
    assert EVERYWHERE.contains(-0.1, 2)


def test_a_region_is_the_union_of_its_shapes() -> None:
    """Edges belong to a shape."""
    region = Region.from_shapes([[0, 0, 0.25, 0.5], [[0.5, 0.5], [1, 0.5], [1, 1]]])
    assert region.contains(0.1, 0.1)
    assert region.contains(0.25, 0.5)
    assert region.contains(0.9, 0.6)
    assert not region.contains(0.6, 0.9)
    assert not region.contains(0.4, 0.4)


@pytest.mark.parametrize(
    ("shapes", "hint"),
    [
        ([[0, 0, 100, 50]], r"rectangle 1 is \[0, 0, 100, 50\]; .*fractions"),
        ([[0.5, 0, 0.2, 1]], "left < right"),
        ([[[0, 0], [1, 1]]], "at least 3"),
        ([[[0, 0], [1, "a"], [1, 1]]], "fractions"),
        ([[True, 0, 1, 1]], "fractions"),
        (["left"], "give"),
        ([3], "give"),
    ],
)
def test_an_invalid_shape_is_named(shapes: list[list[object]], hint: str) -> None:
    """With its number and what was expected."""
    with pytest.raises(RegionError, match=hint):
        Region.from_shapes(shapes)
