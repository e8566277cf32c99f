"""Events of a visit reach a webhook and a broker, and match a watch rule, also after a kill."""

import json
import signal
from pathlib import Path
from typing import Any

from tests.daemon_process import busy_camera, daemon, facend, wait_for, write_settings
from tests.mosquitto import PASSWORD, USER, mosquitto, watching
from tests.receivers import WebhookReceiver, receiving

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def types_of(receiver: WebhookReceiver) -> set[str]:
    messages: list[Any] = [json.loads(body) for _, body in receiver.accepted()]
    return {message["type"] for message in messages}


def test_a_visit_reaches_webhook_and_broker(short_clip: Path, tmp_path: Path) -> None:
    """Its begin, its person and the rule that it matches; what was refused comes after a restart."""
    with receiving() as receiver, mosquitto(tmp_path) as broker, watching(broker) as watcher:
        settings = write_settings(
            tmp_path,
            [busy_camera("hall", short_clip)],
            detector="Büro",
            mqtt={"url": f"mqtt://127.0.0.1:{broker.port}", "user": USER, "password": PASSWORD},
        )
        with settings.open("a") as file:
            file.write(f'\n[[webhooks]]\nname = "alarm"\nurl = "{receiver.url}"\nsecret = "{KEY}"\n')
            file.write('\n[[rules]]\nname = "stranger"\nwho = "new"\n')
        receiver.answer = lambda _: (503, {"Retry-After": "0"})
        with daemon(settings, "first") as process:
            process.ready()
            wait_for("a visit at the broker", lambda: bool(watcher.of("facend/Büro/camera/hall/event")), 120)
            wait_for("a refused webhook", lambda: bool(receiver.got), 60)
            assert process.kill() == -signal.SIGKILL
        watcher.wait(lambda: "offline" in watcher.of("facend/Büro/available"), 60)
        assert receiver.accepted() == []
        receiver.answer = lambda _: (204, {})
        assert facend("webhooks", "resend", "alarm", "--dead", "--settings", settings).returncode == 0
        with daemon(settings, "second") as process:
            process.ready()
            wanted = {"visit.started", "person.created", "rule.matched", "box.started"}
            wait_for("all events", lambda: wanted <= types_of(receiver), 120)
            assert process.stop() == 0
            assert not [entry for entry in process.log() if entry["level"] in ("error", "critical")]
        rules = [json.loads(body)["rule"] for _, body in receiver.accepted()]
        assert "stranger" in rules
        last = json.loads(watcher.of("facend/Büro/camera/hall/last")[-1])
        assert last["label"] in ("unnamed person", "not recognised")  # nobody has a name here
        assert watcher.of("facend/Büro/available")[-1] == "offline"
