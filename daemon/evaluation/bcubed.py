"""BCubed: how well made groups agree with true ones, seen from each item.

Bagga and Baldwin 1998 ("Algorithms for Scoring Coreference Chains"); Amigó et al. 2009 (doi
10.1007/s10791-008-9066-8) compare it with other measures. For an item, precision is the share of its group
that is of its own identity, recall the share of its identity that is in its group; both are means over all
items.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BCubed:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean, 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def bcubed(items: Sequence[tuple[Hashable, Hashable]]) -> BCubed:
    """The agreement of (identity, group) pairs, one an item; 0 where there are none."""
    if not items:
        return BCubed(0.0, 0.0)
    identities = Counter(identity for identity, _ in items)
    groups = Counter(group for _, group in items)
    # Items of one identity in one group all see the same, so each such cell is counted once.
    cells = Counter(items).items()
    precision = sum(number**2 / groups[group] for (_, group), number in cells)
    recall = sum(number**2 / identities[identity] for (identity, _), number in cells)
    return BCubed(precision / len(items), recall / len(items))
