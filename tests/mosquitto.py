"""A real Mosquitto broker for tests, with passwords and optionally TLS, and a client that receives all
topics."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.tls_server import Authority

PACKAGES = "mosquitto"
USER, PASSWORD = "facend", "geheim, ä #1"


class Mosquitto:
    """A running broker. It can be frozen, killed, and restarted on the same port; a restart loses its
    messages."""

    def __init__(self, folder: Path, program: str, authority: Authority | None, acl: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mosquitto.conf"
        passwords = folder / "passwords"
        passwords.write_text("")
        passwords.chmod(0o600)
        subprocess.run(
            ["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD], check=True, capture_output=True
        )
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            "persistence false",
            f"user {os.environ.get('USER', 'root') if os.getuid() else 'root'}",
        ]
        if acl:
            (folder / "acl").write_text(acl)
            (folder / "acl").chmod(0o600)
            lines.append(f"acl_file {folder / 'acl'}")
        if authority is not None:
            authority.good.cert_chain_pems[0].write_to_path(folder / "server.pem")
            authority.good.private_key_pem.write_to_path(folder / "server.key")
            lines += [f"certfile {folder / 'server.pem'}", f"keyfile {folder / 'server.key'}"]
        self._config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                raise RuntimeError(f"mosquitto ended: {self._process.stderr.read().decode()}")
            time.sleep(0.01)
        raise RuntimeError("mosquitto does not listen")

    def freeze(self) -> None:
        """Connections stay open, but nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def mosquitto(folder: Path, authority: Authority | None = None, acl: str = "") -> Iterator[Mosquitto]:
    """A running broker. Skips the test if the package is missing; with CI=true fails it."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        message = f"NO MOSQUITTO: this test needs Debian's package: apt-get install -y {PACKAGES}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    broker = Mosquitto(folder / f"mosquitto-{uuid4().hex[:8]}", program, authority, acl)
    try:
        yield broker
    finally:
        broker.kill()


class Watcher:
    """A client that receives all topics, and remembers the retained ones."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client, MQTTMessage
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        """Topic, content, and whether it was retained before the subscription."""
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()

        def receive(_client: Client, _userdata: object, message: MQTTMessage) -> None:
            self.messages.append((message.topic, message.payload.decode(), message.retain))

        self._client.on_message = receive
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(20)
        self.sync()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, content: str, *, retain: bool = False) -> None:
        self._client.publish(topic, content, qos=1, retain=retain).wait_for_publish(20)

    def sync(self) -> None:
        """Waits until all messages that the broker had at this moment have arrived."""
        mark = f"mark/{uuid4().hex}"
        self.publish(mark, "x")
        self.wait(lambda: any(topic == mark for topic, _, _ in self.messages))

    def of(self, topic: str) -> list[str]:
        return [content for name, content, _ in self.messages if name == topic]

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not in time; there are {self.messages}"
            time.sleep(0.01)


@contextmanager
def watching(broker: Mosquitto) -> Iterator[Watcher]:
    watcher = Watcher(broker.port)
    try:
        yield watcher
    finally:
        watcher.close()


def retained(broker: Mosquitto) -> dict[str, str]:
    """The broker's retained messages, by topic."""
    with watching(broker) as watcher:
        return {topic: content for topic, content, was_retained in watcher.messages if was_retained}
