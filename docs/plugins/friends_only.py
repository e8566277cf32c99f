"""May the door open? Yes, for a friend of its camera who stands there now.

A door's controller asks `GET /access/<camera>` and gets `{"open": true or false, "why": …}`. The rule:
somebody was seen by that camera within the last seconds, in a good picture, and `is_friend` says
yes. Everybody in view has to be a friend, so that nobody slips in behind one.

Beside it a hook that keeps out what the rule could not rely on: faces in poor pictures are not stored.

    [plugins.options.friends_only]
    cameras = ["door"]
    seconds = 10          # how long ago is "now"
    least_score = -2      # the quality score: 0 is perfect, −5 useless
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.plugins import BaseHandler, HttpError, PluginApp, Refuse
from pipeline.types import Sighting
from store import Context, Face


class AccessHandler(BaseHandler):
    cameras: list[str]
    seconds: float

    async def get(self, camera: str) -> dict[str, Any]:
        if camera not in self.cameras:
            raise HttpError(404, "no_door", f"there is no door with the camera {camera}")
        since = datetime.now(UTC) - timedelta(seconds=self.seconds)
        faces = await self.ctx.faces.find(self.user, {"cam_id": camera, "timestamp": {"$gte": since}})
        persons = sorted({face["person_id"] for face in faces if face.get("person_id") is not None})
        if not persons:
            return {"open": False, "why": "nobody is there", "persons": []}
        strangers = [
            person for person in persons if not await self.ctx.persons.is_friend(self.user, person, camera)
        ]
        why = f"no friend: {', '.join(map(str, strangers))}" if strangers else "friends only"
        return {"open": not strangers, "why": why, "persons": persons}


async def activate(app: PluginApp, ctx: Context, options: dict[str, Any]) -> None:
    cameras = options.get("cameras", [])
    least_score = options.get("least_score", -2)

    async def judge(sighting: Sighting, face: Face) -> dict[str, Any] | None:
        if sighting.cam_id not in cameras:
            return None
        if sighting.score < least_score:
            raise Refuse("poor picture")
        return {"least_score": least_score}

    settings = {"cameras": cameras, "seconds": options.get("seconds", 10)}
    app.add_handlers(".*", [("/access/{camera}", AccessHandler, settings)])
    app.add_sighting_hook(before=judge)
