"""Append visits and camera states to a file, one JSON object per line.

For programs that follow a file, such as a log shipper. Options, in settings.toml:

    [plugins.options.event_log]
    path = "/var/lib/facend/events.jsonl"
    cameras = ["door"]                     # only these; default: all
"""

import json
from pathlib import Path
from typing import Any

from daemon.events import CameraStateChanged, Event, VisitEnded, VisitUpdated
from daemon.plugins import PluginApp
from store import Context


class EventLog:
    def __init__(self, path: str, cameras: list[str] | None = None) -> None:
        if not path:
            raise ValueError("event_log needs the option path, the file to append to")
        self._path = Path(path)
        self._cameras = cameras

    def append(self, event: Event) -> None:
        """A plain function, so it may block: it runs in a thread."""
        match event:
            case VisitUpdated(stored=stored):
                facts = {
                    "camera": stored.cam_id,
                    "visit": stored.visit_id,
                    "person": stored.person_id,
                    "name": stored.person_name,
                    "new": stored.created,
                }
            case VisitEnded(cam_id=cam_id, visit_id=visit_id):
                facts = {"camera": cam_id, "visit": visit_id}
            case CameraStateChanged(cam_id=cam_id, state=state, reason=reason):
                facts = {"camera": cam_id, "state": state, "reason": reason}
            case _:
                return
        if self._cameras is not None and facts["camera"] not in self._cameras:
            return
        line = json.dumps({"event": event.type, "at": event.at.isoformat(), **facts})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def activate(app: PluginApp, ctx: Context, options: dict[str, Any]) -> None:
    log = EventLog(str(options.get("path", "")), options.get("cameras"))
    app.subscribe(log.append, VisitUpdated, VisitEnded, CameraStateChanged)
