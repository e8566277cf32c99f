"""MQTT against a real Mosquitto: connection, TLS, delivery at least once, and what the broker keeps."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cameras.observer import CameraState
from daemon.events import CameraStateChanged, EventBus
from daemon.events.announced import AnnouncedCamera
from daemon.events.delivery import EventDelivery
from daemon.events.payload import EventPayload
from daemon.events.sinks import dispatch
from daemon.events.sinks.mqtt import announcer, connection
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.sink import MqttSink, broker_of
from daemon.events.sinks.mqtt.topics import Topics
from daemon.events.sinks.sink import DeliveryResult, RetryClass
from store import Context, User
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.outbox.events import NewEvent, Outbox
from tests.mosquitto import PASSWORD, USER, Mosquitto, Watcher, mosquitto, retained, watching
from tests.tls_server import Authority

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
BOX = "Büro 1"
TOPICS = Topics("facend", "homeassistant", BOX)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds in place of seconds; everything else is real."""
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(connection, "MAX_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(announcer, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(dispatch, "STATISTICS_SECONDS", 0.0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as made:
        yield made


def settings_for(port: int, scheme: str = "mqtt", **changes: Any) -> MqttSettings:
    facts = {"url": f"{scheme}://127.0.0.1:{port}", "user": USER, "password": PASSWORD, "timeout_seconds": 5}
    return MqttSettings.model_validate({**facts, **changes})


def sink_for(settings: MqttSettings) -> MqttSink:
    return MqttSink(settings, TOPICS, broker_of(settings, TOPICS))


def event(reason: str = "", kind: str = "test") -> EventPayload:
    return EventPayload(id="evt_1", type=kind, time=AT, box=BOX, reason=reason)


class Site:
    """The delivery of a running daemon with one camera."""

    def __init__(self, broker: Mosquitto, bus: EventBus, ctx: Context, user: User) -> None:
        self.cameras = [AnnouncedCamera("door", "Haustür", CameraState.GREEN)]
        self.broker = broker
        self.bus = bus
        self.outbox = Outbox(ctx.database, user["_id"], ctx.box)

    def set_camera(self, state: CameraState) -> None:
        self.cameras = [AnnouncedCamera("door", "Haustür", state)]
        self.bus.publish(CameraStateChanged("door", state, ""))

    async def visit(self, kind: str, person: int, number: int = 0) -> None:
        facts = {"started_at": AT, "outcome": "matched", "confidence": 0.9}
        visit = f"v{number}"
        at = AT + timedelta(seconds=number)
        await self.outbox.add([NewEvent(kind, visit, at, "door", visit, person, facts)])


@asynccontextmanager
async def site(
    broker: Mosquitto, ctx: Context, user: User, port: int = 0, **changes: Any
) -> AsyncIterator[Site]:
    bus = EventBus()
    made = Site(broker, bus, ctx, user)

    class Uncounted:
        def delivery(self, sink: str, outcome: str) -> None: ...
        def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None: ...

    delivery = EventDelivery(
        (),
        bus,
        Uncounted(),
        mqtt=settings_for(port or broker.port, **changes),
        box=BOX,
        cameras=lambda: made.cameras,
    )
    async with delivery.running(ctx, user):
        yield made
    await bus.close(5)


@pytest.fixture
async def anna(ctx: Context, user: User) -> int:
    return int((await ctx.persons.add(user, {"name": "Änne"}))["_id"])


@asynccontextmanager
async def relay(
    target_port: int, accepts: Callable[[bytes], bool] = lambda _: True
) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A port that forwards connections whose first bytes are accepted; the function cuts all of them."""
    connections: set[asyncio.StreamWriter] = set()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        connections.add(target)
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(4096)
        if not accepts(first):
            writer.close()
            return
        inside, outside = await asyncio.open_connection("127.0.0.1", target_port)
        outside.write(first)
        await asyncio.gather(copy(reader, outside), copy(inside, writer))

    def cut() -> None:
        for one in connections:
            one.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], cut
    server.close()
    cut()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a look from outside
            await asyncio.sleep(0.01)


async def kept(broker: Mosquitto, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The retained topics once they fulfil the condition."""
    async with asyncio.timeout(20):
        while not condition(found := await asyncio.to_thread(retained, broker)):  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0.01)
    return found


async def test_events_are_confirmed_by_the_broker(broker: Mosquitto) -> None:
    """An event is delivered when the broker has it; it is not retained."""
    sink = sink_for(settings_for(broker.port))
    with watching(broker) as watcher:
        assert await sink.deliver(event("Tür")) == DeliveryResult(RetryClass.DELIVERED)
        watcher.sync()
        assert [EventPayload.model_validate_json(one) for one in watcher.of(TOPICS.event)] == [event("Tür")]
    await sink.close()
    assert TOPICS.event not in retained(broker)


async def test_types_limit_the_events_and_not_the_states(broker: Mosquitto) -> None:
    """The event topic gets the chosen types alone."""
    sink = sink_for(settings_for(broker.port, types=["camera.down"]))
    with watching(broker) as watcher:
        for kind in ("camera.up", "camera.down"):
            await sink.deliver(event(kind, kind))
        watcher.sync()
        assert [json.loads(one)["type"] for one in watcher.of(TOPICS.event)] == ["camera.down"]
    await sink.close()


@pytest.mark.parametrize(
    ("verify", "trouble"),
    [("authority", ""), (False, ""), ("another", "certificate verify failed"), (True, "certificate verify")],
)
async def test_tls(tmp_path: Path, verify: str | bool, trouble: str) -> None:
    """The broker's certificate is verified as that of a webhook's receiver is."""
    authority = Authority(tmp_path)
    files = {"authority": str(authority.file), "another": str(authority.another_file)}
    with mosquitto(tmp_path, authority) as broker:
        value = files[verify] if isinstance(verify, str) else verify
        sink = sink_for(settings_for(broker.port, "mqtts", tls_verify=value))
        result = await sink.deliver(event())
        await sink.close()
    assert result.retry_class is (RetryClass.RETRY if trouble else RetryClass.DELIVERED)
    assert trouble in result.reason


async def test_a_wrong_password_is_named_and_not_shown(broker: Mosquitto) -> None:
    """The reason is the broker's; the log has one line however often it is tried."""
    with capture_logs() as entries:
        sink = sink_for(settings_for(broker.port, password="hidden"))  # noqa: S106
        result = await sink.deliver(event())
        await asyncio.sleep(0.3)
        await sink.close()
    assert result.retry_class is RetryClass.RETRY and "refuses the connection" in result.reason
    lines = [one for one in entries if one["log_level"] == "warning"]
    assert [one["event"] for one in lines] == ["no connection to the MQTT broker"]
    assert "hidden" not in str(entries)


async def test_a_message_that_the_broker_refuses_is_not_delivered(tmp_path: Path) -> None:
    """A refusal in the confirmation (MQTT 5) is no delivery."""
    acl = f"user {USER}\ntopic readwrite other/#\n"
    with mosquitto(tmp_path, acl=acl) as broker:
        sink = sink_for(settings_for(broker.port))
        result = await sink.deliver(event())
        await sink.close()
    assert result.retry_class is RetryClass.RETRY and "the broker refuses the message" in result.reason


async def test_an_old_broker_gets_mqtt_3(broker: Mosquitto) -> None:
    """A broker that ends connections of MQTT 5 is used with MQTT 3.1.1."""
    versions: list[int] = []

    def accepts(first: bytes) -> bool:
        versions.append(first[first.index(b"MQTT") + 4])
        return versions[-1] != 5

    async with relay(broker.port, accepts) as (port, _):
        sink = sink_for(settings_for(port))
        assert (await sink.deliver(event())).retry_class is RetryClass.RETRY
        await until(lambda: len(versions) == 2)
        async with asyncio.timeout(20):
            while (await sink.deliver(event())).retry_class is not RetryClass.DELIVERED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert versions == [5, 4]
        await sink.close()


async def test_the_broker_knows_whether_the_daemon_runs(broker: Mosquitto, ctx: Context, user: User) -> None:
    """`online` while it runs; `offline` at its end, and by the last will when the connection is lost."""
    with watching(broker) as watcher:
        async with relay(broker.port) as (port, cut), site(broker, ctx, user, port):
            await kept(broker, lambda found: found.get(TOPICS.available) == "online")
            cut()
            await until(lambda: "offline" in watcher.of(TOPICS.available))
            await kept(broker, lambda found: found.get(TOPICS.available) == "online")
    assert retained(broker)[TOPICS.available] == "offline"


async def test_all_is_announced_before_anything_happens(
    broker: Mosquitto, ctx: Context, user: User, anna: int
) -> None:
    """Box, cameras and named persons are there at once; strangers are not."""
    await ctx.persons.add(user, {})
    async with site(broker, ctx, user):
        found = await kept(broker, lambda found: TOPICS.person_present(anna) in found)
    assert set(found) == {
        TOPICS.available,
        TOPICS.discovery(TOPICS.device),
        TOPICS.discovery(TOPICS.camera_device("door")),
        TOPICS.discovery(TOPICS.person_device(anna)),
        TOPICS.camera_state("door"),
        TOPICS.camera_last("door"),
        TOPICS.person_last(anna),
        TOPICS.person_present(anna),
    }
    assert found[TOPICS.camera_state("door")] == "online"
    assert json.loads(found[TOPICS.discovery(TOPICS.person_device(anna))])["device"]["name"] == "Änne"


async def test_a_broker_that_forgets_everything_gets_it_again(
    broker: Mosquitto, ctx: Context, user: User, anna: int
) -> None:
    """A killed broker that keeps nothing: states and waiting events are there after its return."""
    async with site(broker, ctx, user) as running:
        before = await kept(broker, lambda found: TOPICS.person_present(anna) in found)
        broker.kill()
        await running.visit("visit.started", anna)
        await asyncio.sleep(0.3)  # an attempt fails, so that the event waits for its next one
        broker.start()
        with watching(broker) as watcher:
            await until(lambda: bool(watcher.of(TOPICS.event)), 4)  # not only after the usual pause of 5 s
        found = await kept(broker, lambda found: found.get(TOPICS.person_present(anna)) == "ON")
        assert set(before) <= set(found)


async def test_a_frozen_broker_delays_and_loses_nothing(
    broker: Mosquitto, ctx: Context, user: User, anna: int
) -> None:
    """Events are tried again until they are confirmed."""
    async with site(broker, ctx, user, timeout_seconds=0.3) as running:
        await kept(broker, lambda found: TOPICS.person_present(anna) in found)
        broker.freeze()
        for number in range(5):
            await running.visit("visit.started", anna, number)
        await asyncio.sleep(0.5)
        broker.thaw()
        with watching(broker) as watcher:
            await until(lambda: len(_visits(watcher)) == 5)
            assert list(dict.fromkeys(_visits(watcher))) == [f"v{number}" for number in range(5)]


def _visits(watcher: Watcher) -> list[str]:
    return list(dict.fromkeys(json.loads(one)["visit"]["id"] for one in watcher.of(TOPICS.event)))


async def test_home_assistant_that_starts_gets_everything(
    broker: Mosquitto, ctx: Context, user: User, anna: int
) -> None:
    """`homeassistant/status` = online: discovery and states are published again."""
    async with site(broker, ctx, user):
        await kept(broker, lambda found: TOPICS.person_present(anna) in found)
        await asyncio.sleep(0.1)
        with watching(broker) as watcher:
            watcher.messages.clear()
            watcher.publish(TOPICS.home_assistant, "online")
            await until(lambda: bool(watcher.of(TOPICS.person_present(anna))))
            assert watcher.of(TOPICS.discovery(TOPICS.camera_device("door")))


async def test_visits_set_the_states(broker: Mosquitto, ctx: Context, user: User, anna: int) -> None:
    """The camera's event and last person, the person's presence, and the camera's connection."""
    async with site(broker, ctx, user, present_seconds=0) as running:
        await kept(broker, lambda found: TOPICS.person_present(anna) in found)
        with watching(broker) as watcher:
            await running.visit("visit.started", anna)
            await until(lambda: "ON" in watcher.of(TOPICS.person_present(anna)))
            await running.visit("visit.ended", anna)
            await until(lambda: watcher.of(TOPICS.person_present(anna))[-1] == "OFF")
            events = [json.loads(one) for one in watcher.of(TOPICS.camera_event("door"))]
            assert [(one["event_type"], one["label"]) for one in events] == [
                ("visit.started", "Änne"),
                ("visit.ended", "Änne"),
            ]
            assert json.loads(watcher.of(TOPICS.camera_last("door"))[-1])["label"] == "Änne"
            running.set_camera(CameraState.RED)
            await until(lambda: watcher.of(TOPICS.camera_state("door"))[-1] == "offline")


async def test_corrections_reach_the_broker(broker: Mosquitto, ctx: Context, user: User, anna: int) -> None:
    """A rename keeps the device's id; a merge and an erasure remove what the person had."""
    berta = int((await ctx.persons.add(user, {"name": "Berta"}))["_id"])
    changes = PersonChanges(ctx, user, ctx.persons.rules.references)
    async with site(broker, ctx, user) as running:
        await running.visit("visit.started", anna)
        await kept(broker, lambda found: "Änne" in found.get(TOPICS.camera_last("door"), ""))
        await changes.rename(anna, "Zoë")
        found = await kept(broker, lambda found: "Zoë" in found.get(TOPICS.camera_last("door"), ""))
        assert "Zoë" in found[TOPICS.discovery(TOPICS.person_device(anna))]
        await changes.merge(anna, berta)
        await kept(broker, lambda found: not _topics_of(berta) & set(found))
        await Erasure(ctx, user).erase(anna)
        found = await kept(broker, lambda found: not _topics_of(anna) & set(found))
        found = await kept(broker, lambda found: "Zoë" not in str(found))
        assert json.loads(found[TOPICS.camera_last("door")])["label"] == "no visitor yet"


def _topics_of(person_id: int) -> set[str]:
    device = TOPICS.discovery(TOPICS.person_device(person_id))
    return {device, TOPICS.person_last(person_id), TOPICS.person_present(person_id)}


async def test_what_was_removed_meanwhile_is_cleared(
    broker: Mosquitto, ctx: Context, user: User, anna: int
) -> None:
    """Cameras and persons that went while the daemon was down; other programs' topics stay."""
    gone = {TOPICS.camera_state("old"), TOPICS.discovery(TOPICS.camera_device("old")), *_topics_of(99)}
    others = {"homeassistant/device/zigbee/config", "facend/Büro 10/available"}
    with watching(broker) as watcher:
        for topic in gone | others:
            watcher.publish(topic, "x", retain=True)
    async with site(broker, ctx, user):
        found = await kept(broker, lambda found: not gone & set(found))
        assert others <= set(found)
