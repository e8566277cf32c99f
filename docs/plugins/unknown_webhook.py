"""Notify another program of each new person.

Each new person is one POST of JSON to a URL. This is not an alarm: a face whose pictures are too poor to
create a person is not reported, and after an outage sightings are reported late (compare `captured_at`).
A redirect is an error, because it would send the token to another host. Options, in settings.toml:

    [plugins.options.unknown_webhook]
    url = "https://example.org/hooks/unknown"
    token = "${credential:webhook}"      # sent as Authorization: Bearer …; optional
    cameras = ["door"]                   # only these; default: all
"""

import json
import urllib.request
from typing import Any

from daemon.plugins import PluginApp
from store import Context
from store.spool.stored_sighting import StoredSighting

SECONDS = 3
"""Less than plugins.timeout_seconds, so that the log has this error and not a timeout of the hook."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


class Webhook:
    def __init__(self, url: str, token: str = "", cameras: list[str] | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("unknown_webhook needs the option url, http://… or https://…")
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._cameras = cameras

    def send(self, stored: StoredSighting) -> None:
        """A plain function, so it may block: it runs in a thread, after the sighting is stored."""
        if not stored.created or (self._cameras is not None and stored.cam_id not in self._cameras):
            return
        message = {
            "event": "unknown_person",
            "sighting_id": stored.sighting_id,
            "person_id": stored.person_id,
            "face_id": stored.face_id,
            "camera": stored.cam_id,
            "captured_at": stored.captured_at.isoformat(),
            "score": stored.score,
            "thumbnail": stored.thumbnail,
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            self._url, json.dumps(message).encode(), self._headers
        )
        # An error status raises; the log and /status have the error.
        with _opener.open(request, timeout=SECONDS):
            pass


def activate(app: PluginApp, ctx: Context, options: dict[str, Any]) -> None:
    webhook = Webhook(str(options.get("url", "")), options.get("token", ""), options.get("cameras"))
    app.add_sighting_hook(after=webhook.send)
