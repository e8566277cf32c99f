"""Facend's own HTTP API over a real store: who may see and change what, pages, problems, pictures."""

from typing import Any

import httpx

from store import Context, User
from store.accounts.accounts import Accounts
from store.accounts.roles import Role
from tests.api import PASSWORD, Client, visitor, with_token


async def test_a_request_needs_a_credential(http: httpx.AsyncClient, admin: Client) -> None:
    """None, a wrong token, a wrong scheme, a made-up session: 401 with the same shape."""
    for headers in (
        {},
        {"Authorization": "Bearer fct_unknown"},
        {"Authorization": "Bearer the owner's token"},
        {"Authorization": "Token nobody's"},
        {"Cookie": "facend_session=made-up"},
    ):
        await Client(http)("GET", "/persons", 401, headers=headers)
    me = await admin("GET", "/session")
    assert (me["name"], me["role"]) == ("owner", "admin")


async def test_a_viewer_sees_only_its_cameras(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """By no route and no filter anything of another camera: persons, histories, faces, pictures, states."""
    both, (door_face, yard_face) = await visitor(ctx, user, 1, "door", "yard")
    hidden, (hidden_face,) = await visitor(ctx, user, 2, "yard")
    enrolled, _ = await visitor(ctx, user, 3)
    viewer = await with_token(ctx, http, user, Role.VIEWER, "door")
    assert [one["id"] for one in (await viewer("GET", "/persons"))["items"]] == [str(both)]
    assert (await viewer("GET", f"/persons/{both}"))["faces"] == 1
    history = await viewer("GET", f"/persons/{both}/history")
    assert [one["camera"] for one in history["cameras"]] == ["door"]
    assert [one["camera"] for one in history["visits"]] == ["door"]
    for query in ("", f"?person={both}", "?camera=door"):
        assert [one["id"] for one in (await viewer("GET", f"/faces{query}"))["items"]] == [str(door_face)]
    assert (await viewer("GET", "/faces?camera=yard"))["items"] == []
    for path in (
        f"/persons/{hidden}",
        f"/persons/{hidden}/history",
        f"/persons/{enrolled}",
        f"/faces/{yard_face}",
        f"/faces/{hidden_face}",
        f"/faces/{hidden_face}/photo",
        "/cameras/yard",
    ):
        problem = await viewer("GET", path, 404)
        assert "yard" not in problem["detail"].replace("camera yard", "")
    assert [one["cam_id"] for one in await viewer("GET", "/cameras")] == ["door"]
    picture = await viewer("GET", f"/faces/{door_face}/thumbnail")
    assert picture.headers["content-type"] == "image/jpeg" and len(picture.content) > 200
    again = {"If-None-Match": picture.headers["etag"]}
    assert not (await viewer("GET", f"/faces/{door_face}/thumbnail", 304, headers=again)).content


async def test_roles_limit_what_may_be_done(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """A viewer may not change data, an operator may not manage, and an auditor may not see persons."""
    person, _ = await visitor(ctx, user, 1, "door")
    rename = {"json": {"name": "Sam"}}
    routes: list[tuple[str, str, dict[str, Any], set[Role]]] = [
        ("GET", "/persons", {}, {Role.ADMIN, Role.OPERATOR, Role.VIEWER}),
        ("PATCH", f"/persons/{person}", rename, {Role.ADMIN, Role.OPERATOR}),
        ("GET", "/users", {}, {Role.ADMIN}),
        ("GET", "/tokens", {}, {Role.ADMIN}),
        ("GET", "/box", {}, {Role.ADMIN}),
        ("GET", "/audit", {}, {Role.ADMIN, Role.AUDITOR}),
    ]
    for role in Role:
        client = await with_token(ctx, http, user, role)
        for method, path, given, permitted in routes:
            await client(method, path, 200 if role in permitted else 403, **given)


async def test_another_owners_data_is_not_there(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """Their administrator has an API of their own: nothing of this owner is in it."""
    person, (face_id,) = await visitor(ctx, user, 1, "door")
    other = await ctx.users.add({"token": "another owner"})
    stranger = await with_token(ctx, http, other, Role.ADMIN)
    for path in ("/persons", "/faces", "/audit"):
        items = (await stranger("GET", path))["items"]
        assert all(one.get("by") == "token admin " for one in items), path
    for path in (f"/persons/{person}", f"/faces/{face_id}", f"/faces/{face_id}/photo"):
        await stranger("GET", path, 404)
    assert await stranger("GET", "/users") == []


async def test_signing_in_and_out(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """The session is a cookie that no script reads and no other site sends; it ends with the sign-out."""
    await Accounts(ctx.database, user["_id"]).add("anna", Role.OPERATOR, password=PASSWORD)
    client = Client(http)
    login = {"name": "Anna", "password": PASSWORD}
    await client("POST", "/session", 403, json=login, headers={"Origin": "https://evil.example"})
    await client("POST", "/session", 401, json={**login, "password": "wrong password"})
    await client("POST", "/session", 401, json={"name": "typed in the wrong field", "password": PASSWORD})
    refused = await ctx.database["audit"].find({"action": "session.refuse"}).to_list(None)
    assert [one["details"]["name"] for one in refused] == ["anna", ""]
    assert (await client("POST", "/session", json=login))["name"] == "user anna"
    (cookie,) = http.cookies.jar
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"
    assert (await client("GET", "/session"))["role"] == "operator"
    cross = {"Origin": "https://evil.example"}
    await client("DELETE", "/session", 403, headers=cross)
    await client("DELETE", "/session", 204)
    http.cookies.set("facend_session", str(cookie.value))
    await client("GET", "/session", 401)


async def test_guessing_passwords_is_slowed_down(ctx: Context, http: httpx.AsyncClient, user: User) -> None:
    """After five failures the next attempt has to wait, right or wrong."""
    await Accounts(ctx.database, user["_id"]).add("anna", Role.OPERATOR, password=PASSWORD)
    client = Client(http)
    for _ in range(5):
        await client("POST", "/session", 401, json={"name": "anna", "password": "wrong password"})
    await client("POST", "/session", 429, json={"name": "anna", "password": PASSWORD})


async def test_users_and_tokens_are_managed(http: httpx.AsyncClient, admin: Client) -> None:
    """Added, changed, removed; a password is never shown, a token once; a removed one opens nothing."""
    new = {"name": "vera", "role": "viewer", "cameras": ["door"], "password": PASSWORD}
    made = await admin("POST", "/users", 201, json=new)
    assert made["cameras"] == ["door"] and "password" not in made
    await admin("POST", "/users", 409, json=new)
    for bad in ({**new, "role": "king"}, {**new, "extra": 1}, {"name": "x"}):
        problem = await admin("POST", "/users", 422, json=bad)
        assert problem["errors"] and PASSWORD not in str(problem)
    await admin("POST", "/users", 400, json={**new, "name": "a b"})
    assert (await admin("PATCH", "/users/vera", json={"cameras": None}))["cameras"] is None
    await admin("PATCH", "/users/nobody", 404, json={"active": False})
    token = await admin("POST", "/tokens", 201, json={"name": "ci", "role": "viewer", "days": 1})
    client = Client(http, Authorization=f"Bearer {token['token']}")
    assert (await client("GET", "/session"))["name"] == "token ci"
    assert token["token"] not in str(await admin("GET", "/tokens"))
    await admin("DELETE", "/tokens/ci", 204)
    await client("GET", "/session", 401)
    await admin("DELETE", "/users/vera", 204)
    assert await admin("GET", "/users") == []


async def test_what_is_read_and_changed_is_in_the_audit_log(
    ctx: Context, http: httpx.AsyncClient, user: User, admin: Client
) -> None:
    """With actor, address and object, and without the person's name."""
    person, _ = await visitor(ctx, user, 1, "door")
    operator = await with_token(ctx, http, user, Role.OPERATOR)
    await operator("GET", f"/persons/{person}")
    renamed = await operator("PATCH", f"/persons/{person}", json={"name": "Samantha Berry"})
    assert renamed["name"] == "Samantha Berry"
    entries = (await admin("GET", f"/audit?object=person/{person}"))["items"]
    assert [one["action"] for one in entries] == ["person.rename", "person.read"]
    assert entries[0]["by"] == "token operator " and entries[0]["address"] == "127.0.0.1"
    assert "Samantha" not in str(await ctx.database["audit"].find().to_list(None))
    await admin("PATCH", f"/persons/{person}", 422, json={"name": ""})


async def test_lists_are_read_page_by_page(ctx: Context, user: User, admin: Client) -> None:
    """Each object once; a cursor that was tampered with is refused."""
    ids = [(await visitor(ctx, user, number))[0] for number in range(5)]
    seen: list[str] = []
    path = "/persons?limit=2"
    cursor = ""
    while cursor is not None:
        page = await admin("GET", f"{path}{cursor and '&cursor=' + cursor}")
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert seen == [str(one) for one in ids[::-1]]
    found = await admin("GET", "/persons?name=VISITOR 3")
    assert [one["name"] for one in found["items"]] == ["visitor 3"]
    assert (await admin("GET", "/persons?named=false"))["items"] == []
    for cursor in ("!!!", "YWJj", "LTE", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM"):
        await admin("GET", f"/persons?cursor={cursor}", 400)
    for query in ("limit=0", "limit=many", "cursor=" + "a" * 300):
        await admin("GET", f"/persons?{query}", 422)
    for path in ("/persons/-1", "/persons/x", f"/persons/{2**64}"):
        await admin("GET", path, 422)


async def test_bad_requests_are_problems(http: httpx.AsyncClient, admin: Client) -> None:
    """Unknown paths and methods, broken and large bodies."""
    await admin("GET", "/nothing", 404)
    await admin("PUT", "/persons", 405)
    await admin("POST", "/users", 422, content=b"{", headers={"Content-Type": "application/json"})
    await admin("POST", "/users", 413, content=b" " * 2**21)
    document = (await http.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1") and document["servers"] == [{"url": "/api/v1"}]
    assert "/persons/{person_id}/history" in document["paths"]
