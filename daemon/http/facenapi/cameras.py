"""Calls on the collection of cameras."""

from typing import Any

from starlette.responses import JSONResponse, Response

from daemon.http.errors import HttpError
from daemon.http.facenapi import objects
from daemon.http.facenapi.call import Answer, Call
from daemon.http.facenapi.errors import BadParameterError
from store import Camera

_TEXTS = ("meta", "url", "detector")
_REGIONS = ("rot", "roi")


async def listed(call: Call) -> Answer:
    """GET /camera"""
    found = await call.ctx.cameras.find(call.user, None, sort=[("id", 1)])
    return {"results": [objects.camera(camera) for camera in found]}


async def add(call: Call) -> Answer:
    """POST /camera"""
    fields = _fields(call)
    if not fields.get("url"):
        raise BadParameterError("url", fields.get("url"), "expected the URL of the camera's stream")
    if call.parameters.has("id"):
        fields["id"] = call.parameters.text("id")
    added = await call.ctx.cameras.add(call.user, fields)
    return JSONResponse(objects.camera(added), status_code=201, headers={"cache-control": "no-store"})


async def one(call: Call) -> Answer:
    """GET /camera/I"""
    return objects.camera(await _stored(call))


async def change(call: Call) -> Answer:
    """PUT /camera/I: the parameters that are given."""
    camera = await _stored(call)
    if fields := _fields(call):
        changed = await call.ctx.cameras.update_one(call.user, {"id": camera["id"]}, {"$set": fields})
        if changed is None:
            raise _missing(camera["id"])
        camera = changed
    return objects.camera(camera)


async def remove(call: Call) -> Answer:
    """DELETE /camera/I: its faces stay."""
    if await call.ctx.cameras.remove_one(call.user, {"id": call.in_path("id")}) is None:
        raise _missing(call.in_path("id"))
    return Response(status_code=204)


def _fields(call: Call) -> dict[str, Any]:
    given = call.parameters
    fields: dict[str, Any] = {name: given.text(name) for name in _TEXTS if given.values.get(name) is not None}
    if (enabled := given.boolean("enabled")) is not None:
        fields["enabled"] = enabled
    fields |= {name: given.structure(name) for name in _REGIONS if given.has(name)}
    return fields


async def _stored(call: Call) -> Camera:
    found = await call.ctx.cameras.find_one(call.user, {"id": call.in_path("id")})
    if found is None:
        raise _missing(call.in_path("id"))
    return found


def _missing(cam_id: str) -> HttpError:
    return HttpError(404, "not_found", f"there is no camera {cam_id}")
