"""Calls on pictures: detection, verification and identification."""

import asyncio
from itertools import product
from typing import Any

from starlette.responses import JSONResponse

from daemon.http.facenapi import objects
from daemon.http.facenapi.call import Answer, Call
from daemon.http.facenapi.parameters import gallery_name
from pipeline.faces.facen import confidence, decode
from pipeline.pictures.decode import exif_orientation
from pipeline.types import ExtractionFace
from store import IdentifyResults
from store.collections.galleries import DEFAULT_GALLERY

MAX_RESULTS = 1000


async def detect(call: Call) -> Answer:
    """POST /detect: the faces of a picture."""
    names = objects.ATTRIBUTES if call.version else ()
    wanted = [name for name in names if call.parameters.boolean(name)]
    picture = call.parameters.picture("photo")
    found = await call.ctx.extractor.extract(picture)
    return {
        "faces": [objects.detected(face, wanted) for face in found],
        "orientation": await asyncio.to_thread(exif_orientation, picture),
    }


async def verify(call: Call) -> Answer:
    """POST /verify: whether two pictures show one person."""
    given, threshold = call.parameters, call.threshold()
    boxes = [given.boxes(name) for name in ("bbox1", "bbox2")]
    pictures = [given.picture(name) for name in ("photo1", "photo2")]
    first, second = [
        await call.selected_faces(picture, chosen, name)
        for picture, chosen, name in zip(pictures, boxes, ("photo1", "photo2"), strict=True)
    ]
    results = [_compared(one, other, threshold) for one, other in product(first, second)]
    return {"results": results, "verified": any(result["verified"] for result in results)}


def _compared(one: ExtractionFace, other: ExtractionFace, threshold: float) -> dict[str, Any]:
    sure = confidence(float(decode(one["facen"]) @ decode(other["facen"])))
    return {
        "bbox1": objects.box(one["bbox"]),
        "bbox2": objects.box(other["bbox"]),
        "confidence": round(sure, 4),
        "verified": sure >= threshold,
    }


async def identify(call: Call) -> Answer:
    """POST /identify, /faces/gallery/G/identify: the stored faces that resemble those of a picture."""
    given = call.parameters
    gallery = gallery_name(call.request.path_params.get("gallery", DEFAULT_GALLERY))
    count = given.integer("n", 1, MAX_RESULTS) or 1
    strict = given.boolean("strict", False) is True
    threshold, boxes = call.threshold(), given.boxes()
    results: dict[str, Any] = {}
    servers: list[tuple[int, int]] = []
    for face in await call.selected_faces(given.picture("photo"), boxes):
        found: IdentifyResults = await call.ctx.faces.identify(
            call.user, gallery, face, count, threshold, ignore_errors=not strict
        )
        results[objects.box_key(face["bbox"])] = [
            {"confidence": round(one.confidence, 4), "face": call.face(one.face)} for one in found
        ]
        if found.live_server is not None and found.total_servers is not None:
            servers.append((found.live_server, found.total_servers))
    headers = {"x-live-servers": "{}/{}".format(*min(servers))} if servers else {}
    return JSONResponse({"results": results}, headers=headers | {"cache-control": "no-store"})
