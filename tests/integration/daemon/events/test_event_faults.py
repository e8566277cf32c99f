"""Random faults of daemon, receivers and broker: no event is lost, none of an erased person is sent.

FAULTS=100 SEED=1 .venv/bin/pytest -s tests/integration/daemon/events/test_event_faults.py
"""

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from store import Context, User
from store.identity.erasure import Erasure
from store.outbox.deliveries import Deliveries
from store.outbox.events import NewEvent, Outbox
from tests.event_delivery import BOX, DeliveryProcess, delivery_process
from tests.mongo import StoreArguments
from tests.mosquitto import PASSWORD, USER, Mosquitto, Watcher, mosquitto, watching
from tests.receivers import WebhookReceiver, receiving

FAULTS = int(os.environ.get("FAULTS", "6"))
SEED = int(os.environ.get("SEED", "7"))
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
EVENTS_PER_FAULT = 6
TIMEOUT_SECONDS = 1.5
REFUSALS = (500, 503, 404, 302, 429)


class Scene:
    def __init__(
        self,
        ctx: Context,
        user: User,
        daemon: DeliveryProcess,
        receivers: dict[str, WebhookReceiver],
        broker: Mosquitto,
        watcher: Watcher,
    ) -> None:
        self.ctx, self.user, self.daemon = ctx, user, daemon
        self.receivers, self.broker, self.watcher = receivers, broker, watcher
        self.outbox = Outbox(ctx.database, user["_id"], BOX)
        self.chance = random.Random(SEED)  # noqa: S311 - chooses faults
        self.persons: list[int] = []
        self.erased: dict[int, float] = {}
        self.written: dict[int, list[str]] = defaultdict(list)
        """The events of each person, in order."""

    async def write(self) -> None:
        events = []
        for _ in range(EVENTS_PER_FAULT):
            person = self.chance.choice(self.persons)
            mark = f"{person}-{len(self.written[person])}"
            self.written[person].append(mark)
            events.append(NewEvent("person.renamed", mark, AT, person_id=person, facts={"reason": mark}))
        await self.outbox.add(events)

    async def fault(self) -> str:
        """Cause one fault, and mend it after a random time; returns its name."""
        kind = self.chance.choice(["kill", "freeze daemon", "refuse", "hang", "freeze broker", "erase"])
        receiver = self.chance.choice(list(self.receivers.values()))
        seconds = self.chance.uniform(0.02, 0.3)
        match kind:
            case "kill":
                self.daemon.kill()
                self.daemon.start()
            case "freeze daemon":
                self.daemon.freeze()
                await asyncio.sleep(seconds)
                self.daemon.thaw()
            case "refuse":
                status = self.chance.choice(REFUSALS)
                receiver.answer = lambda _: (status, {"Location": "http://127.0.0.1:1/"})
                await asyncio.sleep(seconds)
                receiver.answer = lambda _: (204, {})
            case "hang":
                receiver.delay_seconds = TIMEOUT_SECONDS * 1.5
                await asyncio.sleep(seconds)
                receiver.delay_seconds = 0
            case "freeze broker":
                self.broker.freeze()
                await asyncio.sleep(seconds)
                self.broker.thaw()
            case "erase" if len(self.persons) > 2:
                person = self.persons.pop(self.chance.randrange(len(self.persons)))
                await Erasure(self.ctx, self.user).erase(person)
                self.erased[person] = time.monotonic()
        return kind

    async def settle(self) -> None:
        """Wait until nothing is left to deliver."""
        sinks = [
            Deliveries(self.ctx.database, self.user["_id"], BOX, name) for name in (*self.receivers, "mqtt")
        ]
        async with asyncio.timeout(240):
            while await self.outbox.unrouted(1):  # noqa: ASYNC110 - a look from outside
                await asyncio.sleep(0.05)
            for sink in sinks:
                while (await sink.waiting()).pending:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        self.watcher.sync()

    def check(self, got: list[dict[str, Any]]) -> None:
        """All events of the persons who are left, in order, each under one id."""
        ids: dict[str, set[str]] = defaultdict(set)
        orders: dict[int, list[str]] = defaultdict(list)
        for message in got:
            if message["type"] != "person.renamed":
                continue
            ids[message["reason"]].add(message["id"])
            order = orders[int(message["person"]["id"])]
            if message["reason"] not in order:
                order.append(message["reason"])
        assert all(len(known) == 1 for known in ids.values())
        for person in self.persons:
            assert orders[person] == self.written[person]
        for person in self.erased:
            assert orders[person] == [mark for mark in self.written[person] if mark in orders[person]]


@pytest.fixture
async def ctx(store_settings: StoreArguments) -> Any:
    async with store_settings.open(box=BOX) as context:
        yield context


async def test_random_faults_lose_no_event(
    ctx: Context, user: User, store_settings: StoreArguments, tmp_path: Path
) -> None:
    """Killed and frozen daemon, receivers that refuse, redirect and hang, a frozen broker, erased persons."""
    with ExitStack() as stack:
        receivers = {name: stack.enter_context(receiving()) for name in ("one", "two")}
        broker = stack.enter_context(mosquitto(tmp_path))
        watcher = stack.enter_context(watching(broker))
        hooks = [
            {"name": name, "url": receiver.url, "secret": KEY, "timeout_seconds": TIMEOUT_SECONDS}
            for name, receiver in receivers.items()
        ]
        mqtt = {
            "url": f"mqtt://127.0.0.1:{broker.port}",
            "user": USER,
            "password": PASSWORD,
            "timeout_seconds": 2,
        }
        settings = store_settings.settings
        given = {"url": settings.url.get_secret_value(), "database": settings.database, "mqtt": mqtt}
        given |= {"data_dir": str(tmp_path / "daemon"), "owner": str(user["_id"]), "webhooks": hooks}
        daemon = stack.enter_context(delivery_process(given))
        scene = Scene(ctx, user, daemon, receivers, broker, watcher)
        for number in range(6):
            scene.persons.append((await ctx.persons.add(user, {"name": f"person {number}"}))["_id"])
        for number in range(FAULTS):
            await scene.write()
            print(number, await scene.fault())
        await scene.settle()
        for receiver in receivers.values():
            scene.check([json.loads(body) for _, body in receiver.accepted()])
            for (_, body), at in zip(receiver.got, receiver.at, strict=True):
                person = int((json.loads(body)["person"] or {"id": -1})["id"])
                is_late = json.loads(body)["type"] != "person.erased" and at > scene.erased.get(person, at)
                # An attempt that was in progress while the person was erased may end.
                assert not is_late or at < scene.erased[person] + TIMEOUT_SECONDS
        scene.check([json.loads(one) for one in watcher.of(f"facend/{BOX}/event")])
