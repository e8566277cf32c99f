"""Lists of visits use an index for every filter, with a real MongoDB."""

from datetime import UTC, datetime
from typing import Any

import pytest

from store.collections.users import User
from store.context import Context
from store.queries.visits import VisitFilter

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def stages(plan: Any) -> set[str]:
    """The stages of a winning plan."""
    if isinstance(plan, list):
        return set().union(*map(stages, plan))
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
    return own.union(*(stages(part) for part in plan.values()))


@pytest.mark.parametrize(
    "filters",
    [
        VisitFilter(),
        VisitFilter(cameras=["door"]),
        VisitFilter(cameras=["door", "yard"]),
        VisitFilter(person=1),
        VisitFilter(since=SINCE, until=SINCE),
        VisitFilter(named=False),
        VisitFilter(friend=True),
        VisitFilter(outcome="withheld"),
        VisitFilter(min_quality=-1.0),
        VisitFilter(min_confidence=0.5),
        VisitFilter(reviewed=False),
        VisitFilter(cameras=["door"], person=1, named=True, since=SINCE, reviewed=False),
    ],
    ids=str,
)
async def test_a_filter_needs_no_collection_scan_and_no_sort(
    ctx: Context, user: User, filters: VisitFilter
) -> None:
    """The first page reads the index in the order of the list."""
    cursor = ctx.database["visits"].find(
        filters.query(user["_id"]), sort=[("start", -1), ("_id", -1)], limit=50
    )
    plan = (await cursor.explain())["queryPlanner"]["winningPlan"]
    assert "IXSCAN" in stages(plan)
    assert stages(plan).isdisjoint({"COLLSCAN", "SORT"})
