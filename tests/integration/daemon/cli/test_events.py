"""`facend events` and `facend webhooks`, on a real store and a real receiver."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from store import Context, User
from store.outbox.deliveries import Deliveries
from store.outbox.events import Outbox
from tests.daemon_process import write_settings
from tests.integration.daemon.cli.test_store import Box, visits
from tests.mongo import StoreArguments
from tests.mosquitto import PASSWORD, USER, mosquitto, watching
from tests.receivers import WebhookReceiver, receiving

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def box(store_settings: StoreArguments, tmp_path: Path, receiver: WebhookReceiver) -> Box:
    settings = store_settings.settings
    store = {"url": settings.url.get_secret_value(), "database": settings.database}
    path = write_settings(tmp_path, [], detector="door box", store=store, persons={"time_zone": "UTC"})
    with path.open("a") as file:
        file.write(f'\n[[webhooks]]\nname = "alarm"\nurl = "{receiver.url}"\nsecret = "{KEY}"\n')
        file.write(f'[[webhooks]]\nname = "away"\nurl = "http://h/"\nsecret = "{KEY}"\nenabled = false\n')
    box = Box(store_settings, path)
    box.make_own_user()
    return box


def test_events_are_printed_in_the_order_of_writing(box: Box) -> None:
    """Each with camera and person; those of an erased person are gone; JSON has the message's fields."""
    anna, other = visits(box, (1, 2, "door"), (2, 1, "yard"))
    box.text("persons", "rename", str(anna), "Anna")
    box.text("persons", "erase", str(other), "--yes")
    lines = box.text("events", "tail", "--all", "--no-follow").splitlines()
    assert [line.split()[1] for line in lines] == [
        "visit.started",
        "person.created",
        "person.renamed",
        "person.erased",
    ]
    assert f"camera door  person {anna} (Anna), new" in lines[0]
    assert str(other) not in lines[3].split("  ")[1:]
    result = box.text("events", "tail", "--all", "--no-follow", "--json")
    messages = [json.loads(line) for line in result.splitlines()]
    assert messages[0]["person"]["id"] == str(anna)
    assert messages[0]["visit"]["faces"] == 1
    assert box.text("events", "tail", "--no-follow") == ""


def test_webhooks_are_listed_without_their_secrets(box: Box, receiver: WebhookReceiver) -> None:
    """The numbers are those of the store; the URL's path and the secret are not shown."""

    async def queue(ctx: Context, user: User) -> None:
        outbox = Outbox(ctx.database, user["_id"], "")
        events = await outbox.unrouted(10)
        await Deliveries(ctx.database, user["_id"], "door box", "alarm").add(events)

    visits(box, (1, 2, "door"))
    box.store(queue)
    rows = box.json("webhooks", "list")
    assert [(row["name"], row["enabled"], row["pending"]) for row in rows] == [
        ("alarm", True, 2),
        ("away", False, 0),
    ]
    shown = box.text("webhooks", "list") + json.dumps(rows)
    assert "http://127.0.0.1" in shown
    assert "secret-path" not in shown
    assert KEY not in shown


def test_a_webhook_is_tried_from_the_command_line(box: Box, receiver: WebhookReceiver) -> None:
    """One signed event of the type test; a failure names the answer, an unknown name those that there are."""
    assert box.text("webhooks", "test", "alarm") == "webhook alarm: delivered\n"
    ((headers, body),) = receiver.got
    message = Webhook(KEY).verify(body, headers)
    assert (message["type"], message["box"]) == ("test", "door box")
    receiver.answer = lambda _: (503, {})
    assert box.error("webhooks", "test", "alarm") == (
        "webhook alarm: the receiver answers 503 Service Unavailable"
    )
    assert "there are: alarm, away" in box.error("webhooks", "test", "nobody")


def test_the_broker_is_tried_from_the_command_line(box: Box, tmp_path: Path) -> None:
    """One event of the type test; without a broker the command says what to set. No secret is shown."""
    assert "set url in the section [mqtt]" in box.error("mqtt", "test")
    with mosquitto(tmp_path) as broker, watching(broker) as watcher:
        with box.settings.open("a") as file:
            file.write(f'\n[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\nuser = "{USER}"\n')
            file.write(f'password = "{PASSWORD}"\n')
        assert box.text("mqtt", "test") == (
            f"MQTT broker mqtt://127.0.0.1:{broker.port}: delivered to facend/door box/event\n"
        )
        watcher.sync()
        assert [json.loads(one)["type"] for one in watcher.of("facend/door box/event")] == ["test"]
        assert watcher.of("facend/door box/available") == []
        broker.kill()
        assert "ConnectionRefusedError" in box.error("mqtt", "test")
    assert PASSWORD not in box.text("check")


def test_a_webhook_is_added_from_the_command_line(box: Box, receiver: WebhookReceiver) -> None:
    """Its secret is shown once; it is listed, tested, removed; mistakes say what to do."""
    made = box.json("webhooks", "add", "late", receiver.url, 'types=["box.started"]')
    assert box.text("webhooks", "test", "late") == "webhook late: delivered\n"
    ((headers, body),) = receiver.got
    assert Webhook(made["secret"]).verify(body, headers)["type"] == "test"
    rows = {row["name"]: row for row in box.json("webhooks", "list")}
    assert (rows["late"]["source"], rows["late"]["types"]) == ("added", ["box.started"])
    assert made["secret"] not in json.dumps(rows) and "secret-path" not in json.dumps(rows)
    assert "exists already" in box.error("webhooks", "add", "late", receiver.url)
    assert "change it there" in box.error("webhooks", "add", "alarm", receiver.url)
    assert "name of the MQTT sink" in box.error("webhooks", "add", "mqtt", receiver.url)
    assert "is not switched off" in box.error("webhooks", "enable", "late")
    assert box.text("webhooks", "remove", "late") == "webhook late is removed\n"
    assert "there is no added webhook late" in box.error("webhooks", "remove", "late")
    assert "remove it from settings.toml" in box.error("webhooks", "remove", "alarm")


def test_deliveries_are_shown_and_repeated(box: Box) -> None:
    """With the reason of a failure; a delivered or dead event waits again."""

    async def fail(ctx: Context, user: User) -> None:
        events = await Outbox(ctx.database, user["_id"], "").unrouted(10)
        sink = Deliveries(ctx.database, user["_id"], "door box", "alarm")
        await sink.add(events)
        first, second = await sink.due(datetime.now(UTC), 10), await sink.latest(10)
        assert len(second) == 2
        await sink.finish(first[0], "dead", "the receiver answers 400")

    visits(box, (1, 2, "door"))
    box.store(fail)
    (dead,) = box.json("webhooks", "deliveries", "alarm", "--state", "dead")
    assert dead["reason"] == "the receiver answers 400"
    assert "the receiver answers 400" in box.text("webhooks", "deliveries", "alarm")
    assert "1 to be sent again" in box.text("webhooks", "resend", "alarm", "--dead")
    assert box.json("webhooks", "deliveries", "alarm", "--state", "dead") == []
    assert "1 to be sent again" in box.text("webhooks", "resend", "alarm", dead["event_id"])
    assert "it has expired" in box.error("webhooks", "resend", "alarm", "evt_0")
    assert "there is no webhook nobody" in box.error("webhooks", "resend", "nobody", dead["event_id"])


def test_rules_are_added_listed_and_removed(box: Box) -> None:
    """A rule of the settings stays there; mistakes say what was expected."""
    with box.settings.open("a") as file:
        file.write('\n[[rules]]\nname = "night"\nwho = "unnamed"\noutside = "07:00-19:30"\n')
    box.text("rules", "add", "missed", "not_seen_days=30")
    rows = box.json("rules", "list")
    assert [(row["name"], row["source"], row["not_seen_days"]) for row in rows] == [
        ("missed", "added", 30),
        ("night", "settings", 0),
    ]
    assert "missed" in box.text("rules", "list")
    assert "exists already" in box.error("rules", "add", "missed", "who=new")
    assert "change it there" in box.error("rules", "add", "night", "who=new")
    assert "expected a condition" in box.error("rules", "add", "empty")
    assert "there is no list staff; there are: none" in box.error("rules", "add", "x", "list=staff")
    assert box.text("rules", "remove", "missed") == "rule missed is removed\n"
    assert "remove it from settings.toml" in box.error("rules", "remove", "night")


def test_lists_have_persons(box: Box) -> None:
    """Persons are put on a list by id, and taken off; unknown lists and persons are errors."""
    anna, _ = visits(box, (1, 2, "door"), (2, 1, "yard"))
    box.text("lists", "create", "staff", "note=all of us", "min_confidence=0.8")
    box.text("lists", "add", "staff", str(anna))
    (row,) = box.json("lists", "list")
    assert (row["name"], row["note"], row["min_confidence"], row["persons"]) == (
        "staff",
        "all of us",
        0.8,
        [str(anna)],
    )
    assert "staff" in box.text("lists", "list")
    assert "staff exists already" in box.error("lists", "create", "staff")
    assert "there is no person 999" in box.error("lists", "add", "staff", "999")
    assert "there is no list guests; there are: staff" in box.error("lists", "add", "guests", str(anna))
    box.text("lists", "remove", "staff", str(anna))
    assert box.json("lists", "list")[0]["persons"] == []
    box.text("lists", "drop", "staff")
    assert "there are no watch lists" in box.text("lists", "list")
    assert box.json("rules", "matches", "--open") == []
    assert "there is no match evt_0" in box.error("rules", "acknowledge", "evt_0")
