"""The HTTP API in tests: what it works on, and clients with one credential."""

from datetime import UTC, datetime
from typing import Any

import httpx

from cameras.observer import CameraState
from daemon.status import CameraReport, DaemonReport, SpoolReport, StoreReport
from store import Context, Image, User
from store.accounts.credentials import ApiTokens
from store.accounts.roles import Role
from tests.facens import face, person_facen
from tests.faces import sample_path

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"  # noqa: S105  of accounts in a test


def report() -> DaemonReport:
    cameras = [
        CameraReport(
            cam_id=cam_id,
            state=CameraState.GREEN,
            reason="",
            detail="",
            since=START,
            url="rtsp://192.0.2.7/s",
            frames_decoded=1,
            reconnects=0,
            last_frame_at=None,
            width=None,
            height=None,
            fps=None,
            codec=None,
        )
        for cam_id in ("door", "yard")
    ]
    spool = SpoolReport(
        sightings=0, bytes=0, max_bytes=1, dropped=0, oldest_seconds=0, fault=None, set_aside=0
    )
    store = StoreReport(ready=True, trouble="", changes_not_seen="", malformed_documents={})
    return DaemonReport(
        version="1",
        started_at=START,
        summary="fine",
        cameras=cameras,
        configuration={},
        store=store,
        spool=spool,
        disks=[],
        jobs={},
        plugins=[],
    )


class Client:
    """Makes requests with one credential."""

    def __init__(self, http: httpx.AsyncClient, **headers: str) -> None:
        self.http = http
        self.headers = headers

    async def __call__(self, method: str, path: str, status: int = 200, **given: Any) -> Any:
        headers = {**self.headers, **given.pop("headers", {})}
        answer = await self.http.request(method, f"/api/v1{path}", headers=headers, **given)
        assert answer.status_code == status, answer.text
        if "json" not in answer.headers.get("content-type", ""):
            return answer
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
        return answer.json()


async def with_token(ctx: Context, http: httpx.AsyncClient, user: User, role: Role, *cameras: str) -> Client:
    name = f"{role.value} {' '.join(cameras)}"
    text, _ = await ApiTokens(ctx.database, user["_id"]).add(name, role, cameras or None)
    return Client(http, Authorization=f"Bearer {text}")


async def visitor(ctx: Context, user: User, number: int, *cameras: str) -> tuple[int, list[int]]:
    """Store a person seen by these cameras; returns the ids of person and faces."""
    person = await ctx.persons.add(user, {"name": f"visitor {number}"})
    photo, ids = Image(sample_path().read_bytes()), []
    for cam_id in cameras:
        made = face(person_facen(number), cam_id=cam_id, person_id=person["_id"])
        made["timestamp"] = START
        made["detector_info"] = {"visit_id": f"{cam_id}-{number}"}
        added = await ctx.faces.add(user, made)
        await ctx.faces.upload(added, photo)
        ids.append(added["_id"])
    return person["_id"], ids
