"""Receives webhooks of Facend, verifies their signatures, and prints a line for each event.

pip install standardwebhooks
SECRET=whsec_… python webhook_receiver.py 8080
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BYTES = 1024 * 1024
webhook = Webhook(os.environ["SECRET"])
seen: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(min(length, MAX_BYTES))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = webhook.verify(body, headers)
        except WebhookVerificationError:
            self.answer(401)
            return
        self.answer(204)  # answer first: slow work belongs behind the answer
        if event["id"] not in seen:  # delivery is at least once
            seen.add(event["id"])
            handle(event)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The events are printed instead."""


def handle(event: dict[str, Any]) -> None:
    person = event.get("person")
    name = "nobody" if person is None else person["name"] or "an unnamed person"
    print(event["type"], name, event.get("camera") or event["box"], flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", int(sys.argv[1])), Receiver)
    print("listening on port", server.server_port, flush=True)
    server.serve_forever()
