"""Visits over the HTTP API: filters, pages, corrections, and what a viewer may see."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from store import Context, User
from store.accounts.roles import Role
from store.identity.changes import PersonChanges
from tests.api import START, Client, with_token
from tests.facens import face, person_facen


async def seen(
    ctx: Context, user: User, visit: str, person: int | None = None, minute: float = 0, **fields: Any
) -> int:
    """Store a face of a visit `CAMERA-NUMBER`; returns the face's id."""
    made = face(person_facen(person or 99), cam_id=visit.partition("-")[0], person_id=person, **fields)
    made["timestamp"] = START + timedelta(minutes=minute)
    made["detector_info"] = {"visit_id": visit, "beside": fields.get("beside", [])}
    return int((await ctx.faces.add(user, made))["_id"])


async def people(ctx: Context, user: User, *names: str) -> list[int]:
    return [(await ctx.persons.add(user, {"name": name} if name else {}))["_id"] for name in names]


async def ids(client: Client, path: str) -> list[str]:
    return [one["id"] for one in (await client("GET", path))["items"]]


async def test_every_filter_selects_visits(ctx: Context, user: User, admin: Client) -> None:
    """The latest begun visit comes first."""
    anna, bert = await people(ctx, user, "Anna", "")
    await seen(
        ctx, user, "door-1", anna, 0, score=-0.2, confidence=0.9, person_outcome="matched", friend=True
    )
    await seen(ctx, user, "door-2", bert, 1, score=-2.0, confidence=0.7, person_outcome="created")
    await seen(ctx, user, "yard-3", None, 2, score=-3.0, person_outcome="withheld")
    await admin("PATCH", "/visits/door-2", json={"reviewed": True})
    at = (START + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    for query, expected in {
        "": ["yard-3", "door-2", "door-1"],
        "camera=door": ["door-2", "door-1"],
        f"person={anna}": ["door-1"],
        f"since={at}": ["yard-3", "door-2"],
        f"until={at}": ["door-1"],
        "named=true": ["door-1"],
        "named=false": ["yard-3", "door-2"],
        "unknown=true": ["yard-3", "door-2"],
        "unknown=false": ["door-1"],
        "friend=true": ["door-1"],
        "outcome=withheld": ["yard-3"],
        "min_quality=-2.5": ["door-2", "door-1"],
        "min_confidence=0.8": ["door-1"],
        "reviewed=true": ["door-2"],
        "reviewed=false&camera=door": ["door-1"],
    }.items():
        assert await ids(admin, f"/visits?{query}") == expected, query
    first = await admin("GET", "/visits/door-1")
    assert first["person"] == {"id": str(anna), "name": "Anna"}
    assert first["evidence"]["outcome"] == "matched"
    assert first["start"] == "2026-03-01T12:00:00Z"
    for bad in (
        "camera=" + "x" * 50,
        "since=yesterday",
        "since=2026-03-01T12:00:00",
        "outcome=x",
        "person=-1",
    ):
        await admin("GET", f"/visits?{bad}", 422)
    await admin("GET", "/visits?named=true&unknown=true", 400)
    await admin("GET", "/visits?since=0001-01-01T00:00:00%2B14:00", 400)


async def test_visits_are_read_page_by_page(ctx: Context, user: User, admin: Client) -> None:
    """Each once, also those that begin at the same time; a foreign cursor is refused."""
    for number in range(5):
        await seen(ctx, user, f"door-{number}", minute=number // 2)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await admin("GET", f"/visits?limit=2{cursor and '&cursor=' + cursor}")
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert found == ["door-4", "door-3", "door-2", "door-1", "door-0"]
    for bad in ("!!!", "YWJj", "MjAyNi0wMy0wMVQxMjowMDowMCB4"):
        await admin("GET", f"/visits?cursor={bad}", 400)


async def test_who_else_was_there(ctx: Context, user: User, admin: Client) -> None:
    """Co-visible visits of the same camera, and the same person at other cameras some minutes apart."""
    anna, bert = await people(ctx, user, "Anna", "Bert")
    await seen(ctx, user, "door-1", anna, 0, beside=["door-2"])
    await seen(ctx, user, "door-2", bert, 0, beside=["door-1"])
    await seen(ctx, user, "yard-1", anna, 4)
    await seen(ctx, user, "yard-2", anna, 40)
    assert [one["id"] for one in await admin("GET", "/visits/door-1/co-visible")] == ["door-2"]
    assert [one["id"] for one in await admin("GET", "/visits/door-1/elsewhere")] == ["yard-1"]
    wide = await admin("GET", "/visits/door-1/elsewhere?minutes=60")
    assert [one["id"] for one in wide] == ["yard-2", "yard-1"]


async def test_the_timeline_counts_visits(ctx: Context, user: User, admin: Client) -> None:
    """By hour, day, week or month of a time zone, with the same filters."""
    anna, bert = await people(ctx, user, "Anna", "Bert")
    for visit, person, minute in (("door-1", anna, 0), ("door-2", anna, 30), ("yard-1", bert, 90)):
        await seen(ctx, user, visit, person, minute)
    by_hour = await admin("GET", "/visits/timeline?per=hour")
    assert [(one["start"], one["visits"], one["persons"]) for one in by_hour] == [
        ("2026-03-01T13:00:00Z", 1, 1),
        ("2026-03-01T12:00:00Z", 2, 1),
    ]
    (day,) = await admin("GET", "/visits/timeline?zone=Europe/Vienna&camera=door")
    assert (day["start"], day["visits"]) == ("2026-02-28T23:00:00Z", 2)
    await admin("GET", "/visits/timeline?zone=Mars/Base", 400)
    await admin("GET", "/visits/timeline?zone=../../etc/passwd", 400)


async def test_a_viewer_sees_visits_of_its_cameras_only(
    ctx: Context, http: httpx.AsyncClient, user: User
) -> None:
    """By no filter, id or neighbour anything of another camera."""
    (anna,) = await people(ctx, user, "Anna")
    await seen(ctx, user, "door-1", anna, 0)
    await seen(ctx, user, "yard-1", anna, 1)
    viewer = await with_token(ctx, http, user, Role.VIEWER, "door")
    for query in ("", f"person={anna}", "named=true", "friend=false", "reviewed=false"):
        assert await ids(viewer, f"/visits?{query}") == ["door-1"], query
    assert await ids(viewer, "/visits?camera=yard") == []
    assert [one["visits"] for one in await viewer("GET", "/visits/timeline")] == [1]
    assert await viewer("GET", "/visits/timeline?camera=yard") == []
    assert await viewer("GET", "/visits/door-1/elsewhere") == []
    for path in ("yard-1", "yard-1/co-visible", "yard-1/elsewhere"):
        await viewer("GET", f"/visits/{path}", 404)
    await viewer("PATCH", "/visits/door-1", 403, json={"reviewed": True})
    other = await ctx.users.add({})
    stranger = await with_token(ctx, http, other, Role.ADMIN)
    assert await ids(stranger, "/visits") == []
    await stranger("GET", "/visits/door-1", 404)
    await stranger("PATCH", "/visits/door-1", 404, json={"reviewed": True})


@pytest.mark.parametrize("alone", [True, False])
async def test_a_visit_is_corrected(ctx: Context, user: User, admin: Client, alone: bool) -> None:
    """It shows another person, or a new one; what was moved can be moved back."""
    anna, bert = await people(ctx, user, "Anna", "")
    await seen(ctx, user, "door-1", bert)
    await seen(ctx, user, "door-1", None)
    if not alone:
        await seen(ctx, user, "door-2", bert)
    corrected = await admin("PATCH", "/visits/door-1", json={"person": str(anna)})
    assert corrected["person"] == {"id": str(anna), "name": "Anna"} and corrected["evidence"]["faces"] == 2
    assert corrected["evidence"]["persons"] == [str(anna)] and corrected["reviewed"]["by"] == "owner"
    if not alone:
        assert (await admin("GET", "/visits/door-2"))["person"]["id"] == str(bert)
    await seen(ctx, user, "yard-1", anna)
    new = await admin("PATCH", "/visits/door-1", json={"new_person": True})
    assert new["person"]["id"] not in (str(anna), str(bert)) and new["person"]["name"] is None
    await PersonChanges(ctx, user, ctx.persons.rules.references).undo()
    assert (await admin("GET", "/visits/door-1"))["person"]["id"] == str(anna)
    await admin("PATCH", "/visits/door-1", 404, json={"person": "987654"})
    for bad in ({"person": "x"}, {"new_person": False}, {"extra": 1}, {"person": 2**64}):
        await admin("PATCH", "/visits/door-1", 422, json=bad)
    await admin("PATCH", "/visits/door-1", 400, json={"new_person": True, "not_a_face": True})


async def test_a_visit_without_a_face_is_removed(ctx: Context, user: User, admin: Client) -> None:
    """Its faces go with it, and the audit log says so."""
    face_id = await seen(ctx, user, "door-1")
    await admin("PATCH", "/visits/door-1", 204, json={"not_a_face": True})
    await admin("GET", "/visits/door-1", 404)
    await admin("GET", f"/faces/{face_id}", 404)
    (entry,) = (await admin("GET", "/audit?action=visit.change"))["items"]
    assert (entry["object"], entry["details"]) == ("visit/door-1", {"fields": "not_a_face"})
