"""One connection to an MQTT broker, from the connection's begin to its loss.

Network traffic has a thread of its own, that of paho-mqtt; a broker that hangs blocks nothing else.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any, TypeVar

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from pipeline.base.background import in_thread

T = TypeVar("T")

QOS = 1
UNSUPPORTED_VERSION = 0x84
NEVER_ACCEPTED = frozenset({0x90, 0x95, 0x99})
"""Topic name invalid, packet too large, payload format invalid: the broker would refuse the message again."""
PROTOCOLS = {5: MQTTProtocolVersion.MQTTv5, 4: MQTTProtocolVersion.MQTTv311}
"""By the level in the CONNECT packet."""


class BrokerError(Exception):
    """The broker cannot be used at present. The text has no secret."""

    def __init__(self, reason: str, *, permanent: bool = False, try_older: bool = False) -> None:
        """`permanent`: it refuses this message for ever. `try_older`: it may know an older MQTT."""
        super().__init__(reason)
        self.permanent = permanent
        self.try_older = try_older


@dataclass(frozen=True, slots=True)
class Broker:
    """How a broker is reached."""

    host: str
    port: int
    client_id: str
    user: str = ""
    password: str = ""
    tls: SSLContext | None = None
    keepalive_seconds: int = 15
    timeout_seconds: float = 10.0
    will_topic: str = ""
    """Where the broker publishes `will` if the connection is lost; empty: nowhere."""
    will: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    topic: str
    content: bytes
    retained: bool


class MqttClient:
    def __init__(self, broker: Broker, level: int, on_message: Callable[[Received], None]) -> None:
        """`level` is a key of `PROTOCOLS`. `on_message` is called on the event loop."""
        self._broker = broker
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[ReasonCode]] = {}
        self._client = self._made(level)

    def _made(self, level: int) -> Client:
        broker, protocol = self._broker, PROTOCOLS[level]
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=protocol,
            clean_session=True if protocol == MQTTProtocolVersion.MQTTv311 else None,
            reconnect_on_failure=False,
        )
        client.connect_timeout = broker.timeout_seconds
        if broker.user:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        if broker.will_topic:
            client.will_set(broker.will_topic, broker.will, qos=QOS, retain=True)
        client.on_connect = lambda _c, _u, _f, code, _p: self._on_loop(self._accept, code)
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._on_loop(self._lose, _words(code))
        client.on_publish = lambda _c, _u, mid, code, _p: self._on_loop(self._answer, mid, code)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self._on_loop(self._answer, mid, codes[0])
        client.on_message = lambda _c, _u, message: self._on_loop(self._receive, message)
        return client

    async def connect(self) -> None:
        """
        Raises:
            BrokerError: the broker cannot be reached, or refuses.
        """
        broker = self._broker
        try:
            connect = partial(self._client.connect, broker.host, broker.port, broker.keepalive_seconds)
            await in_thread(connect, "MQTT connect")
        except (OSError, UnicodeError, ValueError) as error:
            raise BrokerError(_why(error)) from error
        self._client.loop_start()
        await self._before_loss(self._connected, try_older=True)

    async def publish(self, topic: str, content: str, *, retain: bool = False) -> None:
        """Return once the broker has confirmed the message (QoS 1).

        Raises:
            BrokerError: it did not.
        """
        info = self._client.publish(topic, content, qos=QOS, retain=retain)
        code = await self._answer_to(info.rc, info.mid)
        if code.is_failure:
            reason = f"the broker refuses the message: {code}"
            raise BrokerError(reason, permanent=code.value in NEVER_ACCEPTED)

    async def subscribe(self, topic_filter: str) -> bool:
        """Whether the broker allows it.

        Raises:
            BrokerError: the connection is lost.
        """
        rc, mid = self._client.subscribe(topic_filter, qos=QOS)
        return not (await self._answer_to(rc, mid)).is_failure

    def unsubscribe(self, topic_filter: str) -> None:
        self._client.unsubscribe(topic_filter)

    async def wait_lost(self) -> str:
        """Wait until the connection is lost; returns the reason."""
        return await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Disconnect. The broker does not publish the will."""
        self._lose("closed")
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
        # Waits for paho's thread, which may be blocked by the network.
        stopping = in_thread(self._client.loop_stop, "MQTT close")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping, self._broker.timeout_seconds)

    async def _answer_to(self, rc: MQTTErrorCode, mid: int | None) -> ReasonCode:
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerError("the connection to the broker is lost")
        answer: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            return await self._before_loss(answer)
        finally:
            self._answers.pop(mid, None)

    async def _before_loss(self, future: "asyncio.Future[T]", *, try_older: bool = False) -> T:
        """The result, unless the connection is lost before it, or nothing comes in time."""
        limit = self._broker.timeout_seconds
        waiting: set[asyncio.Future[Any]] = {future, self._lost}
        await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self._lost.done():
            raise BrokerError(self._lost.result(), try_older=try_older)
        self._lose(f"no answer within {limit:g} s")
        raise BrokerError(f"no answer within {limit:g} s")

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _accept(self, code: ReasonCode) -> None:
        if self._connected.done():
            return
        if code.is_failure:
            reason = f"the broker refuses the connection: {code}"
            error = BrokerError(reason, try_older=code.value == UNSUPPORTED_VERSION)
            self._connected.set_exception(error)
            self._connected.exception()  # retrieved, also where nobody waits any more
        else:
            self._connected.set_result(None)

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _answer(self, mid: int, code: ReasonCode) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(code)

    def _receive(self, message: MQTTMessage) -> None:
        self._on_message(Received(message.topic, bytes(message.payload), message.retain))


def _words(code: ReasonCode) -> str:
    return f"the broker has ended the connection: {code}" if code.is_failure else "the connection has ended"


def _why(error: Exception) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
