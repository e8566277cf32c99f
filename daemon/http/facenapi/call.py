"""One call: who makes it, with which parameters, and the helpers that several calls share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from daemon.http.errors import HttpError
from daemon.http.facenapi import objects
from daemon.http.facenapi.errors import BadParameterError
from daemon.http.facenapi.parameters import MAX_ID, Parameters
from pipeline.types import ExtractionFace, Rectangle
from store import Context, Face, User
from store.recognition.thresholds import Threshold

PAGE = 100
"""Objects on a page of a list."""
SAME_FACE_IOU = 0.3
"""Minimum intersection over union of a given box and the detected face that it stands for."""

Selector = Literal["reject", "biggest", "all"]


@dataclass(frozen=True, slots=True)
class WireSettings:
    """What the calls need of the settings and the model pack."""

    thresholds: Mapping[str, float]
    """Minimum confidences by name: strict, medium, low, none."""
    person_threshold: Threshold
    """Minimum confidence of a match between a face and a person."""
    gallery_delete_removes_faces: bool = False
    """Whether deleting a gallery removes its faces, as the original does."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    ctx: Context
    user: User
    request: Request
    parameters: Parameters
    version: int
    settings: WireSettings

    @property
    def base(self) -> str:
        """The URL of this API's version."""
        return f"{str(self.request.base_url).rstrip('/')}/v{self.version}"

    def in_path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def id_in_path(self, name: str = "id") -> int:
        text = self.in_path(name)
        if not text.isdecimal() or not text.isascii() or int(text) > MAX_ID:
            raise BadParameterError(name, text, f"expected a whole number from 0 to {MAX_ID}")
        return int(text)

    def face(self, stored: Face) -> dict[str, Any]:
        return objects.face(stored, self.base, self.version)

    def threshold(self) -> float:
        return self.parameters.threshold("threshold", self.settings.thresholds, "medium")

    async def selected_faces(
        self, picture: bytes, boxes: Sequence[Rectangle], parameter: str = "photo"
    ) -> list[ExtractionFace]:
        """The faces of a picture that the boxes, or the parameter `mf_selector`, choose; at least one.

        Raises:
            BadParameterError: there is no face, none in a box, or there are several and one is asked for.
        """
        selector = self.parameters.choice("mf_selector", ("reject", "biggest", "all"), "reject")
        found = await self.ctx.extractor.extract(picture)
        if boxes:
            return [_face_in(found, box) for box in boxes]
        if not found:
            raise BadParameterError(parameter, "a picture", "there is no face in this picture")
        if selector == "reject" and len(found) > 1:
            raise BadParameterError(
                "mf_selector",
                selector,
                f"there are {len(found)} faces in this picture; choose one by bbox, or set biggest or all",
                faces=[objects.box(face["bbox"]) for face in found],
            )
        return found if selector == "all" else found[:1]

    async def stored_face(self, face_id: int) -> Face:
        found = await self.ctx.faces.find_one(self.user, {"_id": face_id})
        if found is None:
            raise HttpError(404, "not_found", f"there is no face {face_id}")
        return found

    def id_range(self) -> tuple[dict[str, Any], bool]:
        """The filter that `max_id` and `min_id` ask for, and whether the page grows from its lower end."""
        highest = self.parameters.integer("max_id", 0, 2**64 - 1)
        lowest = self.parameters.integer("min_id", 0, 2**64 - 1)
        # MongoDB's integers are signed: no id is above MAX_ID.
        bounds = {"$lte": highest, "$gte": lowest}
        given = {operator: min(bound, MAX_ID) for operator, bound in bounds.items() if bound is not None}
        return ({"_id": given} if given else {}), lowest is not None and highest is None

    def page(
        self, ids: Sequence[int], found: Sequence[object], *, more: bool, ascending: bool
    ) -> dict[str, Any]:
        """A page of objects in the order of descending ids, with the paths of the neighbouring pages.

        `more`: there are further objects in the direction of the query.
        """
        path = self.request.url.path
        older = more or ascending
        newer = more if ascending else self.parameters.has("max_id")
        return {
            "results": list(found),
            "next_page": f"{path}?max_id={min(ids) - 1}" if ids and older and min(ids) else None,
            "prev_page": f"{path}?min_id={max(ids) + 1}" if ids and newer else None,
        }


def _face_in(found: Sequence[ExtractionFace], box: Rectangle) -> ExtractionFace:
    best = max(found, key=lambda face: face["bbox"].iou(box), default=None)
    if best is None or best["bbox"].iou(box) < SAME_FACE_IOU:
        raise BadParameterError("bbox", list(box), "there is no face in this box; boxes come from /detect")
    return best


Answer = Mapping[str, Any] | Sequence[Any] | Response
"""What a call returns: JSON with the status 200, or a response."""
