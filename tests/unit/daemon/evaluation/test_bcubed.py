"""BCubed, against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.evaluation.scene_scores import bcubed

ITEMS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), min_size=1, max_size=30)


@given(ITEMS)
def test_it_is_the_mean_over_items_of_what_the_definition_says(items):
    """Precision and recall are those of each item, counted one by one."""

    def mean_share(own, other):
        shares = []
        for item in items:
            group = [one for one in items if one[own] == item[own]]
            shares.append(sum(one[other] == item[other] for one in group) / len(group))
        return sum(shares) / len(shares)

    scores = bcubed(items)
    assert scores.precision == pytest.approx(mean_share(1, 0))
    assert scores.recall == pytest.approx(mean_share(0, 1))


@given(ITEMS)
def test_calling_everybody_by_their_own_name_is_perfect(items):
    """A group for each identity gives 1, whatever the groups are called."""
    scores = bcubed([(identity, f"person {identity}") for identity, _ in items])
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((1, 1, 1))


def test_one_person_made_of_two_costs_precision_alone():
    """Two identities in one group: half of each item's group is right, nothing is missing."""
    scores = bcubed([("a", 1), ("b", 1)])
    assert (scores.precision, scores.recall) == (0.5, 1)


def test_one_visitor_made_into_two_persons_costs_recall_alone():
    """One identity in two groups: each is pure, and has half of what belongs together."""
    scores = bcubed([("a", 1), ("a", 2)])
    assert (scores.precision, scores.recall) == (1, 0.5)
    assert scores.f1 == pytest.approx(2 / 3)


def test_nothing_stored_is_no_success():
    """Without items all is 0."""
    assert bcubed([]).f1 == 0
