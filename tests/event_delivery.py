"""A process that delivers events and does nothing else, which a test can kill: python -m tests.event_delivery

Arguments: one JSON object with `url`, `database`, `data_dir`, `owner`, `webhooks` and `mqtt`.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bson import ObjectId
from pydantic import SecretStr

from daemon.events.bus import EventBus
from daemon.events.delivery import EventDelivery
from daemon.events.sinks import dispatch
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.settings import WebhookSettings
from store.context import Context
from store.settings import PersonsSettings, StoreSettings

BOX = "box"


class Uncounted:
    def delivery(self, sink: str, outcome: str) -> None: ...
    def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None: ...


async def deliver(given: dict[str, Any]) -> None:
    settings = StoreSettings(url=SecretStr(given["url"]), database=given["database"])
    persons = PersonsSettings(time_zone="UTC")
    delivery = EventDelivery(
        [WebhookSettings.model_validate(one) for one in given["webhooks"]],
        EventBus(),
        Uncounted(),
        mqtt=MqttSettings.model_validate(given["mqtt"]),
        box=BOX,
    )
    async with Context.open(settings, persons, data_dir=Path(given["data_dir"]), box=BOX) as ctx:
        user = await ctx.users.find_one({"_id": ObjectId(given["owner"])})
        assert user is not None
        async with delivery.running(ctx, user):
            print("ready", flush=True)
            await asyncio.Event().wait()


class DeliveryProcess:
    """It can be killed, frozen, and started again."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = json.dumps(given)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until it delivers."""
        command = [sys.executable, "-m", "tests.event_delivery", self._given]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) != b"ready\n":
            assert line, "the delivery has ended by itself"

    def kill(self) -> None:
        """SIGKILL, as a power failure."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None and self._process.poll() is None, "the delivery has ended by itself"
        self._process.send_signal(number)


@contextmanager
def delivery_process(given: dict[str, Any]) -> Iterator[DeliveryProcess]:
    made = DeliveryProcess(given)
    try:
        yield made
    finally:
        made.kill()


if __name__ == "__main__":
    # Pauses of milliseconds in place of seconds; everything else is real.
    dispatch.RETRY_SECONDS = (0.05, 0.1)
    asyncio.run(deliver(json.loads(sys.argv[1])))
