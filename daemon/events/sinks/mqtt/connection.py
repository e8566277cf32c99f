"""Keeps a connection to the broker: connects again with growing pauses, and announces all after each time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from daemon.events.sinks.mqtt.client import PROTOCOLS, Broker, BrokerError, MqttClient, Received
from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 60.0

OnConnected = Callable[[MqttClient], Awaitable[None]]


class MqttConnection:
    """Runs from `start` to `close`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client: MqttClient | None = None
        self._reason = ""
        """Why there is no connection; empty before the first attempt has ended."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_connected: list[OnConnected] = []
        """Handles a new connection; calls do not overlap. BrokerError ends the connection."""
        self.on_message: Callable[[Received], None] = lambda _: None

    def start(self) -> None:
        if self._task is None:
            self._task = supervised(self._run(), "MQTT connection")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def client(self) -> MqttClient:
        """The connection; waits for the first attempt, and not for later ones.

        Raises:
            BrokerError: there is no connection.
        """
        self.start()
        limit = self._broker.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                while self._client is None and not self._reason:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BrokerError(f"no answer within {limit:g} s") from None
        if self._client is None:
            raise BrokerError(self._reason)
        return self._client

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        levels = list(PROTOCOLS)
        while True:
            client = MqttClient(self._broker, levels[0], lambda message: self.on_message(message))
            try:
                await self._serve(client, backoff)
            except BrokerError as error:
                if error.try_older:
                    levels.reverse()
                self._report(str(error))
            except asyncio.CancelledError:
                await self._say_goodbye()
                raise
            finally:
                self._client = None
                await client.close()
            await asyncio.sleep(backoff.pause_seconds())

    async def _serve(self, client: MqttClient, backoff: Backoff) -> None:
        """Raises BrokerError when the connection is lost."""
        await client.connect()
        self._client, failed, self._reason = client, self._reason, ""
        self._changed.set()
        backoff.reset()
        after = {"after": failed} if failed else {}
        log.info("connected to the MQTT broker", host=self._broker.host, **after)
        announcing = asyncio.create_task(self._announce(client))
        losing = asyncio.create_task(client.wait_lost())
        try:
            await asyncio.wait({announcing, losing}, return_when=asyncio.FIRST_COMPLETED)
            if announcing.done():
                announcing.result()
            raise BrokerError(await losing)
        finally:
            for task in (announcing, losing):
                task.cancel()
            await asyncio.gather(announcing, losing, return_exceptions=True)

    async def _announce(self, client: MqttClient) -> None:
        for announce in self.on_connected:
            await announce(client)

    async def _say_goodbye(self) -> None:
        """What the broker would publish as the last will, which an orderly end cancels."""
        if self._client is not None and self._broker.will_topic:
            try:
                await self._client.publish(self._broker.will_topic, self._broker.will, retain=True)
            except BrokerError as error:
                log.debug("the broker did not take the last message", reason=str(error))

    def _report(self, reason: str) -> None:
        """One line for each new reason."""
        if reason != self._reason:
            log.warning("no connection to the MQTT broker", host=self._broker.host, reason=reason)
        self._reason = reason
        self._changed.set()
