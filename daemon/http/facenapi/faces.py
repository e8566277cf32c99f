"""Calls on stored faces and galleries."""

from typing import Any

from starlette.responses import Response

from daemon.http.errors import HttpError
from daemon.http.facenapi.call import PAGE, Answer, Call
from daemon.http.facenapi.errors import BadParameterError
from daemon.http.facenapi.parameters import MAX_ID, gallery_name
from pipeline.types import ExtractionFace
from store import Face, Image
from store.collections.galleries import DEFAULT_GALLERY
from store.identity.removal import FaceRemoval
from store.queries.metas import list_metas
from store.settings import ENROLLED_GALLERY


async def add(call: Call) -> Answer:
    """POST /face: stores the faces of a picture.

    With `cam_id` the face gets a person, as a face of this camera does.
    """
    given = call.parameters
    meta, cam_id = given.text("meta"), given.text("cam_id")
    galleries = list(dict.fromkeys([DEFAULT_GALLERY, *(given.names("galleries") or [])]))
    await _require(call, galleries)
    picture = given.picture("photo")
    image = Image(picture)
    selected = await call.selected_faces(picture, given.boxes())
    added = [await _store(call, eface, image, meta, cam_id, galleries) for eface in selected]
    return {"results": [call.face(face) for face in added]}


async def _store(
    call: Call,
    eface: ExtractionFace,
    image: Image,
    meta: str | None,
    cam_id: str | None,
    galleries: list[str],
) -> Face:
    ctx, user = call.ctx, call.user
    face = ctx.faces.Model.from_extraction_face(eface)
    face["meta"] = meta
    if cam_id is not None:
        face["cam_id"] = cam_id
        gallery = ctx.persons.gallery_of(cam_id)
        for name in (gallery, ENROLLED_GALLERY):
            await ctx.galleries.ensure(user, name)
        threshold = await ctx.persons.threshold_for(user, gallery, call.settings.person_threshold)
        person = await ctx.persons.identify(user, face, gallery, threshold, create=True)
        face["person_id"] = person
        face["friend"] = isinstance(person, int) and await ctx.persons.is_friend(user, person, cam_id)
        galleries = [*galleries, gallery]
    face = await ctx.faces.add(user, face)
    await ctx.faces.add_to_galleries(face, list(dict.fromkeys(galleries)))
    await ctx.faces.upload(face, image)
    return face


async def one(call: Call) -> Answer:
    """GET /face/id/I"""
    return call.face(await call.stored_face(call.id_in_path()))


async def change(call: Call) -> Answer:
    """PUT /face/id/I: sets `meta` and `person_id`; `galleries` is a list, or lists to add, del and set."""
    face = await call.stored_face(call.id_in_path())
    given = call.parameters
    add_to, remove_from = await _gallery_changes(call, face)
    changes: dict[str, Any] = {}
    if "meta" in given.values:
        changes["meta"] = given.text("meta")
    if (person_id := given.integer("person_id", 0, MAX_ID)) is not None:
        if await call.ctx.persons.find_one(call.user, {"_id": person_id}) is None:
            raise BadParameterError("person_id", person_id, "there is no such person")
        changes["person_id"] = person_id
    if changes:
        await call.ctx.faces.update_one(call.user, {"_id": face.id}, changes)
    if add_to:
        await call.ctx.faces.add_to_galleries(face, add_to)
    if remove_from:
        await call.ctx.faces.del_from_galleries(face, remove_from)
    return call.face(await call.stored_face(call.id_in_path()))


async def _gallery_changes(call: Call, face: Face) -> tuple[list[str], list[str]]:
    """The galleries to add the face to, and those to remove it from."""
    given = call.parameters
    there = set(face.galleries)
    if (lists := given.mapping("galleries")) is not None:
        if unknown := lists.keys() - {"add", "del", "set"}:
            raise BadParameterError("galleries", sorted(unknown), "expected add, del or set")
        wanted = {
            key: [gallery_name(name, f"galleries.{key}") for name in _listed(names, f"galleries.{key}")]
            for key, names in lists.items()
        }
    elif (names := given.names("galleries")) is not None:
        wanted = {"set": names}
    else:
        return [], []
    target = set(wanted["set"]) if "set" in wanted else set(there)
    target = (target | set(wanted.get("add", []))) - set(wanted.get("del", []))
    await _require(call, sorted(target - there))
    return sorted(target - there), sorted(there - target)


def _listed(names: object, parameter: str) -> list[Any]:
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    if not isinstance(names, list):
        raise BadParameterError(parameter, names, "expected a list of names")
    return names


async def remove(call: Call) -> Answer:
    """DELETE /face/id/I: the face, its pictures, and its places in galleries."""
    await FaceRemoval(call.ctx, call.user).remove(await call.stored_face(call.id_in_path()))
    return Response(status_code=204)


async def picture(call: Call) -> Answer:
    """GET /face/id/I/photo, …/thumbnail, …/normalized"""
    face = await call.stored_face(call.id_in_path())
    url = face.urls.get(call.in_path("picture"))
    data = None if url is None else await call.ctx.uploads.get(url)
    if data is None:
        raise HttpError(404, "not_found", f"the face {face.id} has no such picture on this box")
    headers = {"cache-control": "private, max-age=3600", "x-content-type-options": "nosniff"}
    return Response(data, media_type=Image(data).content_type, headers=headers)


async def listed(call: Call) -> Answer:
    """GET /faces, /faces/gallery/G: the latest first."""
    return await _page(call, await _in_gallery(call))


async def with_meta(call: Call) -> Answer:
    """GET /face/meta/M, /face/gallery/G/meta/M"""
    filters = {"meta": call.in_path("meta").removesuffix("/"), **await _in_gallery(call)}
    return await _page(call, filters)


async def metas(call: Call) -> Answer:
    """GET /meta, /meta/gallery/G: each `meta` with the number of its faces, and the latest of them."""
    gallery = (await _in_gallery(call)).get("gallery")
    return {
        "results": [
            {"meta": one.meta, "count": one.count, "face": call.face(one.latest)}
            for one in await list_metas(call.ctx, call.user, gallery)
        ]
    }


async def _in_gallery(call: Call) -> dict[str, Any]:
    if "gallery" not in call.request.path_params:
        return {}
    name = gallery_name(call.in_path("gallery"))
    await _require(call, [name])
    return {"gallery": name}


async def _require(call: Call, names: list[str]) -> None:
    """HttpError 404 where one of the galleries does not exist."""
    await call.ctx.galleries.require(await call.ctx.users.owner(call.user), names)


async def _page(call: Call, filters: dict[str, Any]) -> Answer:
    ids, ascending = call.id_range()
    order = 1 if ascending else -1
    found = await call.ctx.faces.find(call.user, filters | ids, sort=[("_id", order)], limit=PAGE + 1)
    more, found = len(found) > PAGE, sorted(found[:PAGE], key=lambda face: -face["_id"])
    results = [call.face(face) for face in found]
    return call.page([face["_id"] for face in found], results, more=more, ascending=ascending)


async def galleries(call: Call) -> Answer:
    """GET /galleries: the names."""
    await _require(call, [DEFAULT_GALLERY])
    found = await call.ctx.galleries.find(call.user, None, sort=[("name", 1)])
    return {"results": [gallery["name"] for gallery in found]}


async def add_gallery(call: Call) -> Answer:
    """POST /galleries/NAME"""
    name = gallery_name(call.in_path("gallery"))
    if await call.ctx.galleries.find_one(call.user, {"name": name}) is not None:
        raise HttpError(409, "conflict", f"there is a gallery {name} already")
    await call.ctx.galleries.add(call.user, name)
    return Response(status_code=201)


async def remove_gallery(call: Call) -> Answer:
    """DELETE /galleries/NAME: its faces stay, unless the settings say otherwise."""
    name = gallery_name(call.in_path("gallery"))
    if await call.ctx.galleries.find_one(call.user, {"name": name}) is None:
        raise HttpError(404, "not_found", f"there is no gallery {name}")
    if name == DEFAULT_GALLERY:
        raise BadParameterError("gallery", name, "this gallery cannot be removed")
    if call.settings.gallery_delete_removes_faces:
        removal = FaceRemoval(call.ctx, call.user)
        async for face in removal.faces({"gallery": name}):
            await removal.remove(face)
    await call.ctx.galleries.remove_one(call.user, {"name": name})
    return Response(status_code=204)
