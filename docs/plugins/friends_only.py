"""Advise the controller of a door whether only friends of its camera are present.

`GET /access/<camera>` returns `{"open": true or false, "why": …, "persons": […]}`. Open means that within
the last seconds a friend of that camera was seen in a good picture, and no other person. In all doubtful
cases the answer is closed: a face was not recognised, is not a friend's, or is not stored yet; a person
beside the friend has no usable picture; one person is seen twice at the same time; the clock was set; the
store does not answer.

Limits, and what a door needs in addition:

- Only faces are detected: not people who turn away, wear a mask, arrive after the answer, or hold up a
  picture of a friend. A door needs a second factor (a card, a PIN), a camera with liveness detection, or
  a guard.
- Only posted faces count. Set `posting = "realtime"`, a short `post_interval_seconds`, no `roi` and a low
  `min_face_px` for the camera; with "overall", faces are posted when the visit has ended. No other plugin
  may refuse sightings of this camera: a refused stranger is not known here.
- The controller must ask right before each opening, treat every answer but 200 with `"open": true` as a
  refusal, and keep the door open for seconds only. The way out must work without it.

Options, in settings.toml:

    [plugins.options.friends_only]
    cameras = ["door"]
    seconds = 5           # maximum age of a sighting
    least_score = -2      # minimum quality score of the friend's picture: 0 is perfect, −5 useless
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.plugins import BaseHandler, HttpError, PluginApp
from pipeline.types import Sighting
from store import Context, Face, StoreError
from store.mongo.ids import first_id_of

CLOCK_TOLERANCE_SECONDS = 2.0
WAITING_SECONDS = 60.0
"""An older sighting that is not stored no longer keeps the door closed."""


class Watch:
    """Tracks what the store does not show: sightings that are not stored yet, and steps of the clock."""

    def __init__(
        self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._waiting: dict[str, tuple[str, float]] = {}
        """Camera and monotonic time by sighting."""
        self._offset = now() - monotonic()
        self._distrusted_until = 0.0

    def seen(self, sighting_id: str, camera: str) -> None:
        self._waiting[sighting_id] = (camera, self._monotonic())

    def stored(self, sighting_ids: Iterable[str]) -> None:
        for sighting_id in sighting_ids:
            self._waiting.pop(sighting_id, None)

    def waiting(self, camera: str) -> list[str]:
        since = self._monotonic() - WAITING_SECONDS
        self._waiting = {key: seen for key, seen in self._waiting.items() if seen[1] >= since}
        return [key for key, (cam_id, _) in self._waiting.items() if cam_id == camera]

    def distrusts_clock(self, seconds: float) -> bool:
        """Whether the clock was set recently, so that older sightings may appear to be recent."""
        step = self._now() - self._monotonic() - self._offset
        if abs(step) > CLOCK_TOLERANCE_SECONDS:
            self._offset += step
            self._distrusted_until = self._monotonic() + abs(step) + seconds
        return self._monotonic() < self._distrusted_until


class AccessHandler(BaseHandler):
    cameras: list[str]
    seconds: float = 5
    least_score: float = -2
    watch: Watch | None = None

    async def get(self, camera: str) -> dict[str, Any]:
        if camera not in self.cameras:
            raise HttpError(404, "no_door", f"there is no door with the camera {camera}")
        try:
            why, persons = await self._why_closed(camera)
        except StoreError as error:
            why, persons = f"the store does not answer: {error}", []
        return {"open": not why, "why": why or "friends only", "persons": persons}

    async def _why_closed(self, camera: str) -> tuple[str, list[int]]:
        """Why the door stays closed, empty if only friends are present; and the persons present."""
        now = datetime.now(UTC)
        if await self._clock_was_set(camera, now):
            return "the clock was set: the age of sightings is unknown", []
        since = now - timedelta(seconds=self.seconds)
        recent = await self.ctx.faces.find(self.user, {"cam_id": camera, "timestamp": {"$gte": since}})
        beside = {visit for face in recent for visit in _details(face).get("beside", ())}
        others = await self._of_visits(camera, beside)
        persons = sorted(
            {face["person_id"] for face in [*recent, *others] if face.get("person_id") is not None}
        )
        if await self._waits(camera):
            return "a face was seen and is not stored yet", persons
        if not recent:
            return "nobody is present", persons
        if why := _uncertain([*recent, *others], beside):
            return why, persons
        strangers = [
            person for person in persons if not await self.ctx.persons.is_friend(self.user, person, camera)
        ]
        if strangers:
            return f"not a friend: {', '.join(map(str, strangers))}", persons
        if not any(face["score"] >= self.least_score and self._stored_at_once(face) for face in recent):
            return "no recent good picture", persons
        return "", persons

    async def _clock_was_set(self, camera: str, now: datetime) -> bool:
        """Ids of faces increase with time: one later than now was assigned before the clock was set back."""
        if self.watch is not None and self.watch.distrusts_clock(self.seconds):
            return True
        latest = now + timedelta(seconds=CLOCK_TOLERANCE_SECONDS)
        later_id = first_id_of(int(latest.timestamp() * 1000))
        later = (
            {"_id": {"$gte": later_id}, "cam_id": camera},
            {"cam_id": camera, "timestamp": {"$gt": latest}},
        )
        return any([await self.ctx.faces.count(self.user, query) for query in later])

    async def _waits(self, camera: str) -> bool:
        """Whether a sighting was seen whose face is not stored yet."""
        if self.watch is None:
            return False
        query = {"sighting_id": {"$in": self.watch.waiting(camera)}}
        self.watch.stored([face["sighting_id"] for face in await self.ctx.faces.find(self.user, query)])
        return bool(self.watch.waiting(camera))

    async def _of_visits(self, camera: str, visits: Iterable[str]) -> list[Face]:
        query = {"cam_id": camera, "detector_info.visit_id": {"$in": sorted(visits)}}
        return list(await self.ctx.faces.find(self.user, query))

    def _stored_at_once(self, face: Face) -> bool:
        """Whether the face was stored at once, and not after it waited in the spool."""
        if face.timestamp is None:
            return False
        latest = face.timestamp + timedelta(seconds=self.seconds)
        return bool(face["_id"] < first_id_of(int(latest.timestamp() * 1000)))


def _uncertain(faces: list[Face], beside: set[str]) -> str:
    """Why it is uncertain who is present; empty if it is certain."""
    if any(face.get("person_id") is None for face in faces):
        return "a person was not recognised"
    known = {_details(face).get("visit_id"): face["person_id"] for face in faces}
    if not beside <= known.keys():
        return "another person was seen without a usable picture of the face"
    for face in faces:
        if any(
            known[visit] == face["person_id"] for visit in _details(face).get("beside", ()) if visit in known
        ):
            return "one person is seen twice: a picture, or a mirror"
    return ""


def _details(face: Face) -> dict[str, Any]:
    details = face.get("detector_info")
    return details if isinstance(details, dict) else {}


async def activate(app: PluginApp, ctx: Context, options: dict[str, Any]) -> None:
    watch = Watch()

    async def note(sighting: Sighting, face: Face) -> None:
        watch.seen(face["sighting_id"], sighting.cam_id)

    settings = {
        "cameras": options.get("cameras", []),
        "seconds": options.get("seconds", 5),
        "least_score": options.get("least_score", -2),
        "watch": watch,
    }
    app.add_handlers(".*", [("/access/{camera}", AccessHandler, settings)])
    app.add_sighting_hook(before=note)
