"""Noticing that a camera is back while its old connection stays silent.

A camera that lost its power, or a router that lost its memory, ends no connection: ours stays open, nothing
comes, and the camera's thread waits inside FFmpeg until its timeout. Whether the camera is there tells a
second connection, which is opened for one question and closed again. No password is sent on it.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from cameras.settings import CameraSettings
from cameras.source.tls import PORTS
from cameras.urls import UrlKind, host_and_port
from cameras.worker import CameraWorker
from pipeline.base.tls import client_context

INTERVAL_SECONDS = 0.5

TIMEOUT_SECONDS = 1.5
"""A camera that is there is_reachable sooner."""

GRACE_SECONDS = 0.7
"""Where the whole network was away, the old connection gets so long to go on."""

REQUESTS = {UrlKind.RTSP: b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", UrlKind.HTTP: b"HEAD / HTTP/1.0\r\n\r\n"}


def is_reachable(settings: CameraSettings) -> bool:
    """Whether anything comes back from the camera; what it says does not matter."""
    scheme = settings.url.partition(":")[0].lower()
    host, port = host_and_port(settings.url)
    with contextlib.suppress(OSError, UnicodeError), contextlib.ExitStack() as stack:
        where = (host, port or PORTS[scheme])
        connection = stack.enter_context(socket.create_connection(where, TIMEOUT_SECONDS))
        if scheme in ("rtsps", "https"):
            # Nothing is said that is worth hiding, so any certificate will do.
            context = client_context(verify=False)
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(REQUESTS[settings.kind])
        return bool(connection.recv(1))
    return False


async def _is_reachable(settings: CameraSettings) -> bool:
    """In a thread of its own: a silent name server must hold up neither other work nor the exit."""
    future: Future[bool] = Future()
    future.set_running_or_notify_cancel()  # whoever waits may go, and what comes then is no error

    def ask() -> None:
        try:
            future.set_result(is_reachable(settings))
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=ask, name=f"is {settings.id} back?", daemon=True).start()
    return await asyncio.wrap_future(future)


class ReachabilityProbe:
    """Has cameras opened anew that answer elsewhere while their worker waits."""

    def __init__(
        self, workers: Callable[[], Iterable[CameraWorker]], open_anew: Callable[[CameraWorker], None]
    ) -> None:
        """`workers`: those that run now. `open_anew` is to put a `successor` in a worker's place."""
        self._workers = workers
        self._open_anew = open_anew
        self._asking: dict[CameraWorker, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever. Raises what `open_anew` raises."""
        try:
            while True:
                for worker in self._workers():
                    if worker not in self._asking and worker.waiting() is not None:
                        self._asking[worker] = asyncio.create_task(self._ask(worker), name="is it back?")
                await asyncio.sleep(INTERVAL_SECONDS)
                for worker in [worker for worker, task in self._asking.items() if task.done()]:
                    self._asking.pop(worker).result()
        finally:
            for task in self._asking.values():
                task.cancel()

    async def _ask(self, worker: CameraWorker) -> None:
        """Ask until the worker goes on, by itself or because the camera is_reachable."""
        was_away = False
        while (waiting := worker.waiting()) is not None:
            if not await _is_reachable(worker.settings):
                was_away = True
            # A slow camera is_reachable, too, while it is being opened: that it came back has to be seen.
            elif waiting.gave_pictures or was_away:
                await asyncio.sleep(GRACE_SECONDS)
                if worker.waiting() == waiting:
                    self._open_anew(worker)
                    return
            await asyncio.sleep(INTERVAL_SECONDS)
